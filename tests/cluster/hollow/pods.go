package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	core "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"

	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// pods are those that are bound to the node.
type pods struct {
	client   kubernetes.Interface
	options  options
	statuses *statuses
	rules    rules
	network  *net.IPNet
	swarm    *swarm // nil: a process for each
	mutex    sync.Mutex
	byUID    map[types.UID]*pod
	next     uint32
}

func newPods(client kubernetes.Interface, o options) (*pods, error) {
	_, network, err := net.ParseCIDR(o.network)
	if err != nil || network.IP.To4() == nil {
		return nil, fmt.Errorf("--network %s: write an IPv4 network such as 127.77.0.0/16", o.network)
	}
	made := &pods{client: client, options: o, statuses: newStatuses(client), network: network, byUID: map[types.UID]*pod{}}
	if o.swarm != "" {
		made.swarm, err = newSwarm(o.swarm)
	}
	return made, err
}

// run watches; it returns when it has seen all that is there.
func (ps *pods) run(ctx context.Context) {
	ps.statuses.run(ctx)
	factory := informers.NewSharedInformerFactoryWithOptions(ps.client, 0, informers.WithTweakListOptions(func(o *meta.ListOptions) {
		o.FieldSelector = fields.OneTermEqualSelector("spec.nodeName", ps.options.node).String()
	}))
	informer := factory.Core().V1().Pods().Informer()
	// A node that is lost hears of nothing either.
	seen := func(object any) {
		ps.statuses.wait()
		ps.see(object.(*core.Pod))
	}
	informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    seen,
		UpdateFunc: func(_, object any) { seen(object) },
		DeleteFunc: func(object any) {
			if unknown, is := object.(cache.DeletedFinalStateUnknown); is {
				object = unknown.Obj
			}
			ps.statuses.wait()
			ps.forget(object.(*core.Pod))
		},
	})
	factory.Start(ctx.Done())
	factory.WaitForCacheSync(ctx.Done())
}

func (ps *pods) see(object *core.Pod) {
	ps.mutex.Lock()
	p := ps.byUID[object.UID]
	if p == nil && object.Status.Phase != core.PodSucceeded && object.Status.Phase != core.PodFailed {
		p = newPod(ps, object, ps.address())
		ps.byUID[object.UID] = p
		go p.live()
	}
	ps.mutex.Unlock()
	if p != nil && object.DeletionTimestamp != nil {
		grace := time.Duration(0)
		if object.DeletionGracePeriodSeconds != nil {
			grace = time.Duration(*object.DeletionGracePeriodSeconds) * time.Second
		}
		p.terminate(grace)
	}
}

// address gives each pod one of its own; they come again when all were used.
func (ps *pods) address() string {
	ones, bits := ps.network.Mask.Size()
	base := ps.network.IP.To4()
	for {
		ps.next = (ps.next + 1) % (1 << (bits - ones))
		if low := ps.next & 255; low == 0 || low == 255 {
			continue
		}
		number := uint32(base[0])<<24 | uint32(base[1])<<16 | uint32(base[2])<<8 | uint32(base[3]) + ps.next
		return net.IPv4(byte(number>>24), byte(number>>16), byte(number>>8), byte(number)).String()
	}
}

// forget: the object is gone, with or without our consent.
func (ps *pods) forget(object *core.Pod) {
	ps.mutex.Lock()
	p := ps.byUID[object.UID]
	delete(ps.byUID, object.UID)
	ps.mutex.Unlock()
	if p != nil {
		p.terminate(0)
	}
}

func (ps *pods) all() []*pod {
	ps.mutex.Lock()
	defer ps.mutex.Unlock()
	found := make([]*pod, 0, len(ps.byUID))
	for _, p := range ps.byUID {
		found = append(found, p)
	}
	return found
}

func (ps *pods) find(namespace, name string) *pod {
	for _, p := range ps.all() {
		if p.object.Namespace == namespace && p.object.Name == name {
			return p
		}
	}
	return nil
}

// remove ends all processes and deletes all pods: nobody else would see to them soon.
func (ps *pods) remove() {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	now := int64(0)
	var working sync.WaitGroup
	slots := make(chan struct{}, statusWriters)
	for _, p := range ps.all() {
		p.kill(endKilled)
		working.Add(1)
		go func() {
			defer working.Done()
			slots <- struct{}{}
			defer func() { <-slots }()
			ps.client.CoreV1().Pods(p.object.Namespace).Delete(ctx, p.object.Name,
				meta.DeleteOptions{GracePeriodSeconds: &now, Preconditions: meta.NewUIDPreconditions(string(p.object.UID))})
		}()
	}
	working.Wait()
}

func (p *pod) directory() string {
	return filepath.Join(p.pods.options.directory, string(p.object.UID))
}

func (p *pod) logPath() string {
	return filepath.Join(p.directory(), "log")
}

func (p *pod) removeDirectory() {
	os.RemoveAll(p.directory())
}
