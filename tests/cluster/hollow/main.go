// A hollow node: it registers with the real API server as a node does, and runs the pods that are bound to it without
// containers: the launcher of each is a local process on a loopback address of its own. So one machine carries thousands of
// pods. It can be told to fail in every way that a kubelet does: see faults.go and control.go.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"log"
	"os"
	"os/signal"
	"runtime"
	"syscall"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
)

type options struct {
	kubeconfig   string
	node         string
	address      string
	network      string
	directory    string
	launcher     string
	podInit      string
	swarm        string
	backoff      time.Duration
	gpus         string
	taint        bool
	normalEvents bool
}

func readOptions() options {
	var o options
	flag.StringVar(&o.kubeconfig, "kubeconfig", "", "of a user who may do what a kubelet may, and register nodes")
	flag.StringVar(&o.node, "node", "hollow", "name of the node")
	flag.StringVar(&o.address, "address", "127.0.0.1", "the node's address, at which the API server asks for logs")
	flag.StringVar(&o.network, "network", "127.77.0.0/16", "where pods have their addresses")
	flag.StringVar(&o.directory, "directory", "", "an empty directory for volumes and logs")
	flag.StringVar(&o.launcher, "launcher", "", "what is run where a pod's command names an elara-launcher")
	flag.StringVar(&o.podInit, "pod-init", "", "the program pod_init")
	flag.StringVar(&o.swarm, "swarm", "", "the program launcher_swarm: all pods are simulated launchers in one process")
	flag.DurationVar(&o.backoff, "backoff", 10*time.Second, "before the first restart of a container; doubled up to 5 minutes")
	flag.StringVar(&o.gpus, "gpus", "8", "how many nvidia.com/gpu the node says it has")
	flag.BoolVar(&o.taint, "taint", true, "let only pods in that tolerate "+taintKey)
	flag.BoolVar(&o.normalEvents, "normal-events", false, "tell Pulled, Created and Started of each pod, as a kubelet does")
	flag.Parse()
	if o.kubeconfig == "" || o.directory == "" || o.podInit == "" {
		log.Fatal("--kubeconfig, --directory and --pod-init are needed")
	}
	return o
}

// The main thread is main's alone: one that has entered a pod's root ends with its function, and this one cannot end.
func init() {
	runtime.LockOSThread()
}

func main() {
	o := readOptions()
	config, err := clientcmd.BuildConfigFromFlags("", o.kubeconfig)
	if err != nil {
		log.Fatal(err)
	}
	// The API server decides how much is too much; a limit here would only make thousands of pods slow.
	config.QPS = -1
	config.ContentType = "application/vnd.kubernetes.protobuf"
	config.AcceptContentTypes = "application/vnd.kubernetes.protobuf,application/json"
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		log.Fatal(err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()

	pods, err := newPods(client, o)
	if err != nil {
		log.Fatal(err)
	}
	node := &node{client: client, options: o, pods: pods}
	control, logs, err := serve(node, pods, o)
	if err != nil {
		log.Fatal(err)
	}
	node.logPort = logs
	if err := node.register(ctx); err != nil {
		log.Fatal(err)
	}
	go node.keepAlive(ctx)
	pods.run(ctx)
	// One line for whoever started it: from now on it takes pods.
	json.NewEncoder(os.Stdout).Encode(map[string]string{"node": o.node, "control": control})
	<-ctx.Done()
	pods.remove()
	node.remove()
}
