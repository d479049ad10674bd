package main

import (
	"sync"
	"time"

	core "k8s.io/api/core/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// pod is one pod's life, which one goroutine leads: live().
type pod struct {
	pods    *pods
	object  *core.Pod // as it was bound; its spec does not change
	address string

	release   chan struct{} // closed: what holds the pod, by a fault, holds it no longer
	ending    chan struct{} // closed: it is being deleted
	late      chan struct{} // closed: activeDeadlineSeconds are over
	once      sync.Once
	onceEnd   sync.Once
	mutex     sync.Mutex
	grace     time.Duration
	status    core.PodStatus
	isGone    bool
	process   *process
	fault     fault
	startedAt meta.Time
	restarts  int32
	last      core.ContainerState
}

func newPod(ps *pods, object *core.Pod, address string) *pod {
	return &pod{pods: ps, object: object, address: address, release: make(chan struct{}), ending: make(chan struct{}),
		late: make(chan struct{}), fault: ps.rules.of(object)}
}

func (p *pod) name() string {
	return p.object.Namespace + "/" + p.object.Name
}

// container is the one that is run; others are only said to.
func (p *pod) container() *core.Container {
	return &p.object.Spec.Containers[0]
}

func (p *pod) free() {
	p.once.Do(func() { close(p.release) })
}

func (p *pod) terminate(grace time.Duration) {
	p.mutex.Lock()
	p.grace = grace
	p.mutex.Unlock()
	p.onceEnd.Do(func() { close(p.ending) })
}

func (p *pod) kill(how ending) {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	if p.process != nil {
		p.process.kill(how)
	}
}

func (p *pod) live() {
	if p.admit() {
		p.startedAt = meta.Now()
		p.setDeadline()
		if p.prepare() {
			p.runContainer()
		} else if p.isLate() {
			p.fail(deadline, waiting("ContainerCreating", ""))
		}
	}
	<-p.ending
	p.mutex.Lock()
	p.isGone = true
	p.mutex.Unlock()
	p.pods.statuses.queue.Add(p)
	p.removeDirectory()
}

// hold waits until the pod is released (true), or deleted or late.
func (p *pod) hold() bool {
	select {
	case <-p.release:
		return true
	case <-p.late:
		return false
	case <-p.ending:
		return false
	}
}

// holdWith does something meanwhile, which is told when it is over.
func (p *pod) holdWith(meanwhile func(over <-chan struct{})) bool {
	over, done := make(chan struct{}), make(chan struct{})
	go func() {
		meanwhile(over)
		close(done)
	}()
	isReleased := p.hold()
	close(over)
	<-done // it tells nothing more
	return isReleased
}

// prepare is what comes before the first start of the container. False: there will be none.
func (p *pod) prepare() bool {
	f := p.fault
	if f.Name == neverStarts && !p.hold() {
		return false
	}
	p.report(core.PodPending, "", waiting("ContainerCreating", ""))
	if f.Name == failedSandBox || f.Name == failedMount || f.Name == failedAttach {
		if !p.holdWith(func(over <-chan struct{}) { p.repeatEvent(over, f.Name, f.Message) }) {
			return false
		}
	}
	if !p.mountVolumes() {
		return false
	}
	if f.Name == initFailed && !p.holdWith(func(over <-chan struct{}) { p.failInit(over, f.Message) }) {
		return false
	}
	return p.pull(f)
}

func (p *pod) mountVolumes() bool {
	for pause := 100 * time.Millisecond; ; pause = min(2*pause, 5*time.Second) {
		err := p.makeVolumes()
		if err == nil {
			return true
		}
		p.event(core.EventTypeWarning, failedMount, "MountVolume.SetUp failed for volume "+err.Error())
		if waitUnless(p.ending, pause) {
			return false
		}
	}
}

func (p *pod) pull(f fault) bool {
	image := p.container().Image
	switch f.Name {
	case slowPull:
		if len(p.object.Spec.InitContainers) > 0 {
			p.report(core.PodPending, "", waiting("PodInitializing", ""))
		}
		p.event(core.EventTypeNormal, "Pulling", "Pulling image \""+image+"\"")
		if !p.hold() {
			return false
		}
		p.event(core.EventTypeNormal, "Pulled", "Successfully pulled image \""+image+"\"")
	case invalidImageName:
		p.report(core.PodPending, "", waiting(invalidImageName, "Failed to apply default image tag \""+image+"\": "+f.Message))
		p.event(core.EventTypeWarning, "InspectFailed", "Failed to apply default image tag \""+image+"\": "+f.Message)
		return p.hold()
	case errImagePull:
		return p.holdWith(func(over <-chan struct{}) { p.failToPull(over, f) })
	case neverPull:
		message := "Container image \"" + image + "\" is not present with pull policy of Never"
		p.report(core.PodPending, "", waiting(neverPull, message))
		return p.holdWith(func(over <-chan struct{}) { p.repeatEvent(over, neverPull, message) })
	case configError, createError:
		p.report(core.PodPending, "", waiting(f.Name, f.Message))
		return p.holdWith(func(over <-chan struct{}) { p.repeatEvent(over, "Failed", "Error: "+f.Message) })
	}
	return true
}

// failToPull does as the kubelet: an attempt, its failure, a longer and longer pause.
func (p *pod) failToPull(over <-chan struct{}, f fault) {
	image := p.container().Image
	for pause := p.pods.options.backoff; ; pause = min(2*pause, 5*time.Minute) {
		p.event(core.EventTypeNormal, "Pulling", "Pulling image \""+image+"\"")
		p.event(core.EventTypeWarning, "Failed", "Failed to pull image \""+image+"\": "+f.Message)
		p.event(core.EventTypeWarning, "Failed", "Error: ErrImagePull")
		p.report(core.PodPending, "", waiting(errImagePull, f.Message))
		if waitUnless(over, pause/4) {
			return
		}
		p.event(core.EventTypeNormal, "BackOff", "Back-off pulling image \""+image+"\"")
		p.event(core.EventTypeWarning, "Failed", "Error: ImagePullBackOff")
		p.report(core.PodPending, "", waiting("ImagePullBackOff", "Back-off pulling image \""+image+"\": ErrImagePull: "+f.Message))
		if waitUnless(over, pause) {
			return
		}
	}
}

// waitUnless returns true at once when it is over, else false after the pause.
func waitUnless(over <-chan struct{}, pause time.Duration) bool {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-over:
		return true
	case <-timer.C:
		return false
	}
}
