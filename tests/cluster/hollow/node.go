package main

import (
	"context"
	"log"
	"sync/atomic"
	"time"

	coordination "k8s.io/api/coordination/v1"
	core "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

const (
	taintKey      = "elara.test/hollow"
	leaseSeconds  = 12
	renewInterval = 3 * time.Second
)

type node struct {
	client  kubernetes.Interface
	options options
	pods    *pods
	logPort int32
	lost    atomic.Bool // it tells the API server nothing, and what it runs runs on
}

func (n *node) conditions() []core.NodeCondition {
	now := meta.Now()
	healthy := func(kind core.NodeConditionType, status core.ConditionStatus, reason string) core.NodeCondition {
		return core.NodeCondition{Type: kind, Status: status, Reason: reason, LastHeartbeatTime: now, LastTransitionTime: now}
	}
	return []core.NodeCondition{
		healthy(core.NodeReady, core.ConditionTrue, "KubeletReady"),
		healthy(core.NodeMemoryPressure, core.ConditionFalse, "KubeletHasSufficientMemory"),
		healthy(core.NodeDiskPressure, core.ConditionFalse, "KubeletHasNoDiskPressure"),
		healthy(core.NodePIDPressure, core.ConditionFalse, "KubeletHasSufficientPID"),
	}
}

func (n *node) object() *core.Node {
	capacity := core.ResourceList{
		core.ResourceCPU:              resource.MustParse("10000"),
		core.ResourceMemory:           resource.MustParse("100Ti"),
		core.ResourceEphemeralStorage: resource.MustParse("100Ti"),
		core.ResourcePods:             resource.MustParse("5000"),
		"nvidia.com/gpu":              resource.MustParse(n.options.gpus),
	}
	object := &core.Node{
		ObjectMeta: meta.ObjectMeta{Name: n.options.node, Labels: map[string]string{
			"kubernetes.io/hostname": n.options.node, "kubernetes.io/os": "linux", taintKey: "true"}},
		Status: core.NodeStatus{
			Capacity: capacity, Allocatable: capacity, Conditions: n.conditions(),
			Addresses: []core.NodeAddress{{Type: core.NodeInternalIP, Address: n.options.address},
				{Type: core.NodeHostName, Address: n.options.node}},
			DaemonEndpoints: core.NodeDaemonEndpoints{KubeletEndpoint: core.DaemonEndpoint{Port: n.logPort}},
			NodeInfo:        core.NodeSystemInfo{OperatingSystem: "linux", KubeletVersion: "v1.34.4-hollow"},
		},
	}
	if n.options.taint {
		object.Spec.Taints = []core.Taint{{Key: taintKey, Effect: core.TaintEffectNoSchedule}}
	}
	return object
}

// register makes the node anew: what an earlier one of the same name left would be taken for its state.
func (n *node) register(ctx context.Context) error {
	nodes := n.client.CoreV1().Nodes()
	if err := nodes.Delete(ctx, n.options.node, meta.DeleteOptions{}); err != nil && !errors.IsNotFound(err) {
		return err
	}
	made, err := nodes.Create(ctx, n.object(), meta.CreateOptions{})
	if err != nil {
		return err
	}
	made.Status = n.object().Status
	made.ResourceVersion = "" // whatever the controller manager changes meanwhile
	if _, err := nodes.UpdateStatus(ctx, made, meta.UpdateOptions{}); err != nil {
		return err
	}
	return n.renew(ctx)
}

func (n *node) renew(ctx context.Context) error {
	leases := n.client.CoordinationV1().Leases(core.NamespaceNodeLease)
	now, seconds := meta.NowMicro(), int32(leaseSeconds)
	lease, err := leases.Get(ctx, n.options.node, meta.GetOptions{})
	if errors.IsNotFound(err) {
		lease = &coordination.Lease{ObjectMeta: meta.ObjectMeta{Name: n.options.node},
			Spec: coordination.LeaseSpec{HolderIdentity: &n.options.node, LeaseDurationSeconds: &seconds, RenewTime: &now}}
		_, err = leases.Create(ctx, lease, meta.CreateOptions{})
		return err
	}
	if err != nil {
		return err
	}
	lease.Spec.RenewTime = &now
	_, err = leases.Update(ctx, lease, meta.UpdateOptions{})
	return err
}

// keepAlive renews the lease, and repairs the conditions that the controller manager changes while the node is lost.
func (n *node) keepAlive(ctx context.Context) {
	tick := time.NewTicker(renewInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if n.lost.Load() {
			continue
		}
		if err := n.renew(ctx); err != nil && ctx.Err() == nil {
			log.Printf("lease: %v", err)
		}
		n.repair(ctx, "0") // from the API server's cache: this is asked every few seconds
	}
}

func (n *node) repair(ctx context.Context, version string) {
	nodes := n.client.CoreV1().Nodes()
	object, err := nodes.Get(ctx, n.options.node, meta.GetOptions{ResourceVersion: version})
	if err != nil {
		return
	}
	for _, condition := range object.Status.Conditions {
		if condition.Type == core.NodeReady && condition.Status != core.ConditionTrue {
			object.Status.Conditions = n.conditions()
			object.ResourceVersion = ""
			if _, err := nodes.UpdateStatus(ctx, object, meta.UpdateOptions{}); err != nil {
				log.Printf("node status: %v", err)
			}
			return
		}
	}
}

func (n *node) lose(lost bool) {
	n.lost.Store(lost)
	n.pods.statuses.hold(lost)
	if lost {
		return
	}
	n.repair(context.Background(), "")
	for _, p := range n.pods.all() { // the node controller has marked them as not ready
		n.pods.statuses.queue.Add(p)
	}
}

func (n *node) remove() {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	n.client.CoreV1().Nodes().Delete(ctx, n.options.node, meta.DeleteOptions{})
	n.client.CoordinationV1().Leases(core.NamespaceNodeLease).Delete(ctx, n.options.node, meta.DeleteOptions{})
}
