package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log"
	"sync"
	"sync/atomic"
	"time"

	core "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/errors"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/util/workqueue"
)

const statusWriters = 32

// statuses writes pods' statuses: each pod's latest, however often it changed while the one before was on its way.
type statuses struct {
	client kubernetes.Interface
	queue  workqueue.TypedRateLimitingInterface[*pod]
	mutex  sync.Mutex
	resume *sync.Cond
	held   bool
}

func newStatuses(client kubernetes.Interface) *statuses {
	limiter := workqueue.NewTypedItemExponentialFailureRateLimiter[*pod](50*time.Millisecond, 5*time.Second)
	s := &statuses{client: client, queue: workqueue.NewTypedRateLimitingQueue(limiter)}
	s.resume = sync.NewCond(&s.mutex)
	return s
}

func (s *statuses) run(ctx context.Context) {
	for range statusWriters {
		go func() {
			for {
				pod, over := s.queue.Get()
				if over {
					return
				}
				s.wait()
				if err := s.write(ctx, pod); err != nil && ctx.Err() == nil {
					log.Printf("status of %s: %v", pod.name(), err)
					s.queue.AddRateLimited(pod)
				} else {
					s.queue.Forget(pod)
				}
				s.queue.Done(pod)
			}
		}()
	}
}

// hold is for a node that is lost: nothing is written, or heard of, until it is found again.
func (s *statuses) hold(held bool) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	s.held = held
	s.resume.Broadcast()
}

func (s *statuses) wait() {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	for s.held {
		s.resume.Wait()
	}
}

// write also tells the API server that a deleted pod's processes are gone: only then its object goes.
func (s *statuses) write(ctx context.Context, p *pod) error {
	status, isGone := p.snapshot()
	pods := s.client.CoreV1().Pods(p.object.Namespace)
	change := map[string]any{"metadata": map[string]any{"uid": p.object.UID}, "status": status}
	data, err := json.Marshal(change)
	if err != nil {
		return err
	}
	_, err = pods.Patch(ctx, p.object.Name, types.StrategicMergePatchType, data, meta.PatchOptions{}, "status")
	if isMissing(err) {
		return nil
	}
	if err != nil || !isGone {
		return err
	}
	now := int64(0)
	err = pods.Delete(ctx, p.object.Name, meta.DeleteOptions{GracePeriodSeconds: &now, Preconditions: meta.NewUIDPreconditions(string(p.object.UID))})
	if isMissing(err) {
		return nil
	}
	return err
}

// isMissing: the pod is no more, or another one has its name.
func isMissing(err error) bool {
	return errors.IsNotFound(err) || errors.IsConflict(err) || errors.IsInvalid(err)
}

var eventNumber atomic.Int64

func (p *pod) event(kind, reason, message string) {
	now := meta.Now()
	event := &core.Event{
		ObjectMeta: meta.ObjectMeta{Namespace: p.object.Namespace,
			Name: fmt.Sprintf("%s.%x.%d", p.object.Name, now.UnixNano(), eventNumber.Add(1))},
		InvolvedObject: core.ObjectReference{Kind: "Pod", APIVersion: "v1", Namespace: p.object.Namespace, Name: p.object.Name,
			UID: p.object.UID, FieldPath: "spec.containers{" + p.container().Name + "}"},
		Reason: reason, Message: message, Type: kind, Count: 1, FirstTimestamp: now, LastTimestamp: now,
		Source:              core.EventSource{Component: "kubelet", Host: p.pods.options.node},
		ReportingController: "kubelet", ReportingInstance: p.pods.options.node,
	}
	p.pods.statuses.wait()
	if _, err := p.pods.client.CoreV1().Events(p.object.Namespace).Create(context.Background(), event, meta.CreateOptions{}); err != nil {
		log.Printf("event %s of %s: %v", reason, p.name(), err)
	}
}

// repeatEvent tells it again and again, as the kubelet tries again and again, until `over`.
func (p *pod) repeatEvent(over <-chan struct{}, reason, message string) {
	for pause := time.Second; ; pause = min(2*pause, 2*time.Minute) {
		p.event(core.EventTypeWarning, reason, message)
		if waitUnless(over, pause) {
			return
		}
	}
}
