package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// swarm is one process (tests/tools/launcher_swarm.c) that has the simulated launchers of all pods: thousands of real ones do
// not fit on the machine that measures a gateway.
type swarm struct {
	mutex sync.Mutex
	lines io.Writer
	done  *bufio.Scanner
}

func newSwarm(program string) (*swarm, error) {
	command := exec.Command(program, "--pods")
	lines, err := command.StdinPipe() // its end, with ours, is the program's
	if err != nil {
		return nil, err
	}
	output, err := command.StdoutPipe()
	if err != nil {
		return nil, err
	}
	command.Stderr = os.Stderr
	return &swarm{lines: lines, done: bufio.NewScanner(output)}, command.Start()
}

func (s *swarm) tell(format string, words ...any) error {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if _, err := fmt.Fprintf(s.lines, format, words...); err != nil {
		return err
	}
	if !s.done.Scan() {
		return fmt.Errorf("the simulated launchers have ended")
	}
	return nil
}

// start takes from the launcher's command where it listens (--listen tcp://*:PORT) and what it is (--place DIRECTORY).
func (s *swarm) start(p *pod) (*process, error) {
	endpoint, place := "", ""
	words := append(append([]string{}, p.container().Command...), p.container().Args...)
	for i := 0; i+1 < len(words); i++ {
		switch words[i] {
		case "--listen":
			endpoint = "tcp://" + p.address + words[i+1][strings.LastIndex(words[i+1], ":"):]
		case "--place":
			place = words[i+1]
		}
	}
	directory := ""
	for _, mount := range p.container().VolumeMounts {
		if mount.MountPath == filepath.Clean(place) {
			directory = p.volumePath(mount.Name)
		}
	}
	if endpoint == "" || directory == "" {
		return nil, fmt.Errorf("its command is no elara-launcher's with --listen and --place")
	}
	if err := s.tell("add %s %s\n", endpoint, directory); err != nil {
		return nil, err
	}
	pr := &process{done: make(chan struct{}), started: time.Now()}
	pr.leave = sync.OnceFunc(func() {
		s.tell("remove %s\n", endpoint)
		close(pr.done)
	})
	return pr, nil
}
