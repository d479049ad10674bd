package main

import (
	"fmt"
	"time"

	core "k8s.io/api/core/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func waiting(reason, message string) core.ContainerState {
	return core.ContainerState{Waiting: &core.ContainerStateWaiting{Reason: reason, Message: message}}
}

// runContainer runs it, and again as the pod's restart policy says, until it is over or the pod is deleted.
func (p *pod) runContainer() {
	if p.pods.options.normalEvents {
		p.event(core.EventTypeNormal, "Pulled", "Container image \""+p.container().Image+"\" already present on machine")
	}
	for pause := p.pods.options.backoff; ; {
		state, how := p.runOnce()
		if p.isOver(state, how) {
			return
		}
		if p.restarts > 0 {
			text := fmt.Sprintf("back-off %s restarting failed container=%s pod=%s", pause, p.container().Name, p.object.Name)
			p.event(core.EventTypeWarning, "BackOff", "Back-off restarting failed container "+p.container().Name)
			p.mutex.Lock()
			p.last = state
			p.mutex.Unlock()
			p.report(core.PodRunning, "", waiting(crashLoop, text))
			if waitUnless(p.ending, pause) {
				return
			}
			pause = min(2*pause, 5*time.Minute)
		}
		p.mutex.Lock()
		p.last = state
		p.restarts++
		p.mutex.Unlock()
	}
}

// isOver reports a container that is not started again.
func (p *pod) isOver(state core.ContainerState, how ending) bool {
	if isPodEnd(how) {
		p.fail(how, state)
		return true
	}
	isDeleted := false
	select {
	case <-p.ending:
		isDeleted = true
	default:
	}
	code := int32(128)
	if state.Terminated != nil {
		code = state.Terminated.ExitCode
	}
	policy := p.object.Spec.RestartPolicy
	if !isDeleted && (policy == core.RestartPolicyAlways || (policy == core.RestartPolicyOnFailure && code != 0)) {
		return false
	}
	phase := core.PodSucceeded
	if code != 0 {
		phase = core.PodFailed
	}
	p.report(phase, "", state)
	return true
}

// runOnce starts the container and waits for its end.
func (p *pod) runOnce() (core.ContainerState, ending) {
	process, err := p.start()
	if err != nil {
		return p.failToStart("failed to create containerd task: " + err.Error()), endItself
	}
	p.mutex.Lock()
	p.process = process
	p.mutex.Unlock()
	if p.pods.options.normalEvents {
		p.event(core.EventTypeNormal, "Started", "Started container "+p.container().Name)
	}
	started := meta.NewTime(process.started)
	p.report(core.PodRunning, "", core.ContainerState{Running: &core.ContainerStateRunning{StartedAt: started}})
	if how := ending(p.fault.Name); how == oomKilled || isPodEnd(how) {
		process.kill(how)
	}
	select {
	case <-process.done:
	case <-p.late:
		process.kill(deadline)
	case <-p.ending:
		p.mutex.Lock()
		grace := p.grace
		p.mutex.Unlock()
		process.stop(grace)
	}
	<-process.done
	p.mutex.Lock()
	p.process = nil
	p.mutex.Unlock()
	return p.terminated(process), process.how()
}

// failToStart tells what a kubelet does: the container waits, and it has ended before it began.
func (p *pod) failToStart(message string) core.ContainerState {
	p.event(core.EventTypeWarning, "Failed", "Error: "+message)
	ended := core.ContainerState{Terminated: &core.ContainerStateTerminated{Reason: "StartError", Message: message, ExitCode: 128,
		StartedAt: meta.Unix(0, 0), FinishedAt: meta.Now()}}
	p.mutex.Lock()
	p.last = ended
	p.mutex.Unlock()
	p.report(core.PodRunning, "", waiting(runError, message))
	return ended
}

func (p *pod) terminated(process *process) core.ContainerState {
	code, how := process.exitCode(), process.how()
	reason := "Completed"
	switch {
	case how == oomKilled:
		reason = oomKilled
	case code != 0:
		reason = "Error"
	}
	message := ""
	if code != 0 && p.container().TerminationMessagePolicy == core.TerminationMessageFallbackToLogsOnError {
		message = lastLines(p.logPath(), 80, 2048)
	}
	return core.ContainerState{Terminated: &core.ContainerStateTerminated{ExitCode: int32(code), Reason: reason, Message: message,
		StartedAt: meta.NewTime(process.started), FinishedAt: meta.Now()}}
}

// report makes the status that the API server is told next; `more` changes it before.
func (p *pod) report(phase core.PodPhase, reason string, state core.ContainerState, more ...func(*core.PodStatus)) {
	p.mutex.Lock()
	isRunning := state.Running != nil
	started := p.startedAt
	p.status = core.PodStatus{
		Phase: phase, Reason: reason, StartTime: &started, HostIP: p.pods.options.address,
		HostIPs:    []core.HostIP{{IP: p.pods.options.address}},
		Conditions: p.conditions(isRunning, isInitialized(phase, state)),
	}
	for i := range p.object.Spec.Containers {
		container := &p.object.Spec.Containers[i]
		p.status.ContainerStatuses = append(p.status.ContainerStatuses, core.ContainerStatus{
			Name: container.Name, Image: container.Image, ImageID: container.Image, State: state, Ready: isRunning, Started: &isRunning,
			RestartCount: p.restarts, LastTerminationState: p.last})
	}
	if phase != core.PodPending {
		p.status.PodIP = p.address
		p.status.PodIPs = []core.PodIP{{IP: p.address}}
	}
	if isInitialized(phase, state) {
		p.status.InitContainerStatuses = p.initStatuses()
	}
	for _, change := range more {
		change(&p.status)
	}
	p.mutex.Unlock()
	p.pods.statuses.queue.Add(p)
}

// initStatuses: init containers are not run, and said to have done their work.
func (p *pod) initStatuses() []core.ContainerStatus {
	var found []core.ContainerStatus
	for i := range p.object.Spec.InitContainers {
		container := &p.object.Spec.InitContainers[i]
		found = append(found, core.ContainerStatus{Name: container.Name, Image: container.Image, ImageID: container.Image, Ready: true,
			State: core.ContainerState{Terminated: &core.ContainerStateTerminated{Reason: "Completed",
				StartedAt: p.startedAt, FinishedAt: p.startedAt}}})
	}
	return found
}

// isInitialized: a kubelet looks at a container's image when the init containers have done their work.
func isInitialized(phase core.PodPhase, state core.ContainerState) bool {
	return phase != core.PodPending || state.Waiting != nil && state.Waiting.Reason != "ContainerCreating"
}

func (p *pod) conditions(isRunning, isInitialized bool) []core.PodCondition {
	condition := func(kind core.PodConditionType, is bool) core.PodCondition {
		status := core.ConditionFalse
		if is {
			status = core.ConditionTrue
		}
		return core.PodCondition{Type: kind, Status: status, LastTransitionTime: meta.Now()}
	}
	return []core.PodCondition{
		condition(core.PodInitialized, isInitialized),
		condition(core.PodReady, isRunning),
		condition(core.ContainersReady, isRunning),
	}
}

func (p *pod) snapshot() (core.PodStatus, bool) {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	return *p.status.DeepCopy(), p.isGone
}
