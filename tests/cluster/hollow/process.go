package main

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"
)

const launcherName = "elara-launcher"

// ending is why a container was ended: the name of a fault, or one of these.
type ending string

const (
	endItself ending = ""
	endKilled ending = "killed"
)

// process is a container's: the first one of a process namespace, so that all of it ends with it. Or, without a command, a
// simulated launcher (swarm.go).
type process struct {
	command *exec.Cmd
	leave   func()
	started time.Time
	done    chan struct{} // closed: it has ended
	mutex   sync.Mutex
	ending  ending
}

func (pr *process) kill(how ending) {
	pr.mutex.Lock()
	pr.ending = how
	pr.mutex.Unlock()
	if pr.leave != nil {
		pr.leave()
		return
	}
	pr.command.Process.Kill()
}

func (pr *process) how() ending {
	pr.mutex.Lock()
	defer pr.mutex.Unlock()
	return pr.ending
}

func (pr *process) stop(grace time.Duration) {
	if pr.leave != nil {
		pr.leave()
		return
	}
	pr.command.Process.Signal(syscall.SIGTERM)
	if !waitUnless(pr.done, grace) {
		pr.command.Process.Kill()
	}
}

func (pr *process) exitCode() int {
	if pr.leave != nil {
		return 0
	}
	status := pr.command.ProcessState.Sys().(syscall.WaitStatus)
	if status.Signaled() {
		return 128 + int(status.Signal())
	}
	return status.ExitStatus()
}

// words of the container's command: what comes before the launcher in it, such as a loader, is for images only. Pods share the
// machine's network: who listens at all addresses does so at the pod's.
func (p *pod) words(values map[string]string) []string {
	container := p.container()
	var words []string
	for _, word := range append(append([]string{}, container.Command...), container.Args...) {
		words = append(words, strings.Replace(expand(word, values), "tcp://*:", "tcp://"+p.address+":", 1))
	}
	for i, word := range words {
		if filepath.Base(word) == launcherName && p.pods.options.launcher != "" {
			return append([]string{p.pods.options.launcher}, words[i+1:]...)
		}
	}
	return words
}

func (p *pod) start() (*process, error) {
	if p.fault.Name == runError {
		return nil, errors.New(p.fault.Message)
	}
	if p.pods.swarm != nil && p.fault.Name != crashLoop {
		return p.pods.swarm.start(p)
	}
	environment, err := p.environment()
	if err != nil {
		return nil, err
	}
	words := p.words(environment)
	if p.fault.Name == crashLoop {
		words = []string{"/bin/sh", "-c", "echo \"$0\"; exit 1", p.fault.Message}
	}
	if len(words) == 0 {
		return nil, errors.New("no command specified: a hollow node knows no image's entrypoint")
	}
	output, err := os.OpenFile(p.logPath(), os.O_CREATE|os.O_TRUNC|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer output.Close()
	command := &exec.Cmd{Path: p.pods.options.podInit, Args: append([]string{"pod_init"}, words...), Stdout: output, Stderr: output,
		Dir: p.container().WorkingDir, SysProcAttr: &syscall.SysProcAttr{Setsid: true, Cloneflags: syscall.CLONE_NEWPID}}
	if command.Dir == "" {
		command.Dir = "/"
	}
	for name, value := range environment {
		command.Env = append(command.Env, name+"="+value)
	}
	pr := &process{command: command, done: make(chan struct{})}
	result := make(chan error)
	go func() {
		// The thread gets file systems of its own, which the process inherits, and ends with this function, as it is
		// never unlocked.
		runtime.LockOSThread()
		err := p.enterRoot()
		if err == nil {
			err = command.Start()
		}
		result <- err
	}()
	if err := <-result; err != nil {
		return nil, err
	}
	pr.started = time.Now()
	go func() {
		command.Wait()
		close(pr.done)
	}()
	return pr, nil
}

// lastLines of a file, as the kubelet takes them for a termination message.
func lastLines(path string, count, bytes int) string {
	content, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	content = content[max(0, len(content)-bytes):]
	lines := strings.SplitAfter(string(content), "\n")
	return strings.Join(lines[max(0, len(lines)-count-1):], "")
}
