package main

import (
	"sync"

	core "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
)

// What may go wrong, named as the kubelet names it. A pod asks for it with the annotation hollow.elara.test/fault, or a rule
// of the control port says it of the pods that come. The sentence is hollow.elara.test/message, or the rule's.
const (
	faultAnnotation   = "hollow.elara.test/fault"
	messageAnnotation = "hollow.elara.test/message"

	// These hold the pod where they happen, until it is released or deleted.
	neverStarts      = "NeverStarts"            // nothing at all is heard of the pod
	failedSandBox    = "FailedCreatePodSandBox" // an Event, repeated
	failedMount      = "FailedMount"            // an Event, repeated
	failedAttach     = "FailedAttachVolume"     // an Event, repeated
	invalidImageName = "InvalidImageName"       // the container's state, and an Event
	errImagePull     = "ErrImagePull"           // the state and Events; then ImagePullBackOff
	neverPull        = "ErrImageNeverPull"      // the state, and an Event, repeated
	slowPull         = "SlowPull"               // the Event Pulling, and ContainerCreating
	configError      = "CreateContainerConfigError"
	createError      = "CreateContainerError"
	initFailed       = "Init:CrashLoopBackOff" // the last init container ends with status 1, again and again

	// These happen to a container that starts.
	runError  = "RunContainerError" // it cannot be started, again and again
	crashLoop = "CrashLoopBackOff"  // it ends at once with status 1, its last line is the message
	oomKilled = "OOMKilled"         // it is killed as soon as it runs

	// And these to the pod, which fails as soon as it runs.
	evicted      = "Evicted"
	nodeShutdown = "Terminated"       // the node is being shut down
	preempting   = "Preempting"       // for a critical pod
	deadline     = "DeadlineExceeded" // without it: when activeDeadlineSeconds are over
)

const runcSays = "failed to create shim task: OCI runtime create failed: runc create failed: unable to start container process: "

// The node lets none of these in.
var rejections = map[string]string{
	"OutOfcpu":                 "Node didn't have enough resource: cpu, requested: 250, used: 9000, capacity: 9000",
	"OutOfmemory":              "Node didn't have enough resource: memory, requested: 67108864, used: 9000000000, capacity: 9000000000",
	"OutOfpods":                "Node didn't have enough resource: pods, requested: 1, used: 110, capacity: 110",
	"NodeShutdown":             "Pod was rejected as the node is shutting down.",
	"NodeAffinity":             "Predicate NodeAffinity failed: node(s) didn't match Pod's node affinity/selector",
	"UnexpectedAdmissionError": "Allocate failed due to no healthy devices present; cannot allocate unhealthy devices nvidia.com/gpu, which is unexpected",
}

var faults = map[string]string{ // with the sentence that is told when none is given
	neverStarts:      "",
	failedSandBox:    "Failed to create pod sandbox: rpc error: code = Unknown desc = failed to setup network for sandbox",
	failedMount:      "MountVolume.SetUp failed for volume \"home\" : mount failed: exit status 32",
	failedAttach:     "Multi-Attach error for volume \"home\" Volume is already exclusively attached to one node and can't be attached to another",
	invalidImageName: "couldn't parse image name: invalid reference format",
	errImagePull:     "rpc error: code = NotFound desc = manifest unknown",
	neverPull:        "",
	slowPull:         "",
	configError:      "secret \"not-there\" not found",
	createError:      "failed to create containerd container: cannot load seccomp profile \"x.json\": open x.json: no such file or directory",
	runError:         runcSays + "exec: \"/no/such\": stat /no/such: no such file or directory: unknown",
	initFailed:       "the init container ended",
	crashLoop:        "the container ended",
	oomKilled:        "",
	evicted:          "The node was low on resource: memory. Threshold quantity: 100Mi, available: 50Mi. ",
	nodeShutdown:     "Pod was terminated in response to imminent node shutdown.",
	preempting:       "Preempted in order to admit critical pod",
	deadline:         "Pod was active on the node longer than the specified deadline",
}

func isFault(name string) bool {
	_, holds := faults[name]
	_, rejects := rejections[name]
	return holds || rejects
}

type fault struct {
	Name    string `json:"fault"`
	Message string `json:"message"`
}

// A rule gives a fault to the next pods that its selector takes. Count 0: to all.
type rule struct {
	fault
	Selector string `json:"selector"`
	Count    int    `json:"count"`
	selector labels.Selector
	used     int
}

type rules struct {
	mutex sync.Mutex
	rules []*rule
}

func complete(f fault) fault {
	if f.Message == "" {
		f.Message = faults[f.Name] + rejections[f.Name]
	}
	return f
}

func (r *rules) add(added *rule) error {
	selector, err := labels.Parse(added.Selector)
	if err != nil {
		return err
	}
	added.selector = selector
	r.mutex.Lock()
	defer r.mutex.Unlock()
	r.rules = append(r.rules, added)
	return nil
}

func (r *rules) clear() {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	r.rules = nil
}

// of says what goes wrong with a pod.
func (r *rules) of(pod *core.Pod) fault {
	if name := pod.Annotations[faultAnnotation]; name != "" {
		return complete(fault{name, pod.Annotations[messageAnnotation]})
	}
	r.mutex.Lock()
	defer r.mutex.Unlock()
	for _, rule := range r.rules {
		if (rule.Count == 0 || rule.used < rule.Count) && rule.selector.Matches(labels.Set(pod.Labels)) {
			rule.used++
			return complete(rule.fault)
		}
	}
	return fault{}
}
