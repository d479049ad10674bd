package main

import (
	"fmt"
	"time"

	core "k8s.io/api/core/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Pods that fail as a whole, and init containers that fail again and again.

// isPodEnd: the kubelet ends the pod for it, and no container is started again.
func isPodEnd(how ending) bool {
	return how == evicted || how == nodeShutdown || how == preempting || how == deadline
}

// admit is what a kubelet decides before it does anything for a pod. False: it is rejected, which is told.
func (p *pod) admit() bool {
	if rejections[p.fault.Name] == "" {
		return true
	}
	p.event(core.EventTypeWarning, p.fault.Name, p.fault.Message)
	p.mutex.Lock()
	p.status = core.PodStatus{Phase: core.PodFailed, Reason: p.fault.Name, Message: "Pod was rejected: " + p.fault.Message}
	p.mutex.Unlock()
	p.pods.statuses.queue.Add(p)
	return false
}

// setDeadline counts activeDeadlineSeconds from the pod's startTime, whatever holds it meanwhile.
func (p *pod) setDeadline() {
	if seconds := p.object.Spec.ActiveDeadlineSeconds; seconds != nil {
		time.AfterFunc(time.Duration(*seconds)*time.Second, func() { close(p.late) })
	}
}

func (p *pod) isLate() bool {
	select {
	case <-p.late:
		return true
	default:
		return false
	}
}

// fail tells it of a pod whose containers have ended for it.
func (p *pod) fail(how ending, state core.ContainerState) {
	message := faults[string(how)]
	if p.fault.Name == string(how) {
		message = p.fault.Message
	}
	switch how {
	case evicted, preempting:
		p.event(core.EventTypeWarning, string(how), message)
	case deadline:
		p.event(core.EventTypeNormal, deadline, message)
	}
	p.report(core.PodFailed, string(how), state, func(status *core.PodStatus) {
		status.Message = message
		if how != deadline {
			status.Conditions = append(status.Conditions, core.PodCondition{Type: core.DisruptionTarget, Status: core.ConditionTrue,
				Reason: core.PodReasonTerminationByKubelet, Message: message, LastTransitionTime: meta.Now()})
		}
	})
}

// failInit runs the last init container, which ends with status 1, and again after longer and longer pauses.
func (p *pod) failInit(over <-chan struct{}, message string) {
	containers := p.object.Spec.InitContainers
	container := &containers[len(containers)-1]
	if container.TerminationMessagePolicy != core.TerminationMessageFallbackToLogsOnError {
		message = ""
	}
	for restarts, pause := int32(0), p.pods.options.backoff; ; restarts++ {
		now := meta.Now()
		ended := core.ContainerState{Terminated: &core.ContainerStateTerminated{Reason: "Error", ExitCode: 1, Message: message,
			StartedAt: now, FinishedAt: now}}
		p.reportInit(core.ContainerStatus{State: ended, RestartCount: restarts})
		if restarts == 0 {
			continue
		}
		text := fmt.Sprintf("back-off %s restarting failed container=%s pod=%s", pause, container.Name, p.object.Name)
		p.event(core.EventTypeWarning, "BackOff", "Back-off restarting failed container "+container.Name)
		p.reportInit(core.ContainerStatus{State: waiting(crashLoop, text), LastTerminationState: ended, RestartCount: restarts})
		if waitUnless(over, pause) {
			return
		}
		pause = min(2*pause, 5*time.Minute)
	}
}

// reportInit tells of the last init container; the others have done their work.
func (p *pod) reportInit(status core.ContainerStatus) {
	p.report(core.PodPending, "", waiting("PodInitializing", ""), func(of *core.PodStatus) {
		last := &of.InitContainerStatuses[len(of.InitContainerStatuses)-1]
		status.Name, status.Image, status.ImageID = last.Name, last.Image, last.ImageID
		*last = status
		of.Conditions = p.conditions(false, false)
	})
}
