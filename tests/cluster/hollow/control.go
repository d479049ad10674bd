package main

import (
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"strconv"

	"k8s.io/client-go/util/cert"
)

// The control port (HTTP, loopback) is for the tests:
//
//	GET    /pods                            what runs: namespace, name, address, pid, phase
//	POST   /pods/NAMESPACE/NAME/release     what a fault holds goes on
//	POST   /pods/NAMESPACE/NAME/kill        the container's first process dies
//	POST   /pods/NAMESPACE/NAME/oom         the same, and it is said to be OOMKilled
//	POST   /pods/NAMESPACE/NAME/evict       the same, and the pod fails as Evicted
//	POST   /pods/NAMESPACE/NAME/shutdown    the same, as when the node is being shut down
//	POST   /faults                          {"fault", "message", "selector", "count"}: for pods that come
//	DELETE /faults
//	POST   /node/lost, /node/found          nothing is told to the API server meanwhile
//
// The other one (HTTPS, the node's address) is what the API server asks for logs.
func serve(n *node, ps *pods, o options) (string, int32, error) {
	control, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", 0, err
	}
	logs, err := net.Listen("tcp", net.JoinHostPort(o.address, "0"))
	if err != nil {
		return "", 0, err
	}
	certificate, key, err := cert.GenerateSelfSignedCertKey(o.node, []net.IP{net.ParseIP(o.address)}, nil)
	if err != nil {
		return "", 0, err
	}
	pair, err := tls.X509KeyPair(certificate, key)
	if err != nil {
		return "", 0, err
	}
	go http.Serve(control, controlRoutes(n, ps))
	go http.Serve(tls.NewListener(logs, &tls.Config{Certificates: []tls.Certificate{pair}}), logRoutes(ps))
	return "http://" + control.Addr().String(), int32(logs.Addr().(*net.TCPAddr).Port), nil
}

type shownPod struct {
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	Address   string `json:"address"`
	Pid       int    `json:"pid"`
	Phase     string `json:"phase"`
	Directory string `json:"directory"`
}

func (p *pod) show() shownPod {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	shown := shownPod{p.object.Namespace, p.object.Name, p.address, 0, string(p.status.Phase), p.directory()}
	if p.process != nil && p.process.command != nil {
		shown.Pid = p.process.command.Process.Pid
	}
	return shown
}

var actions = map[string]func(*pod){
	"release":  (*pod).free,
	"kill":     func(p *pod) { p.kill(endKilled) },
	"oom":      func(p *pod) { p.kill(oomKilled) },
	"evict":    func(p *pod) { p.kill(evicted) },
	"shutdown": func(p *pod) { p.kill(nodeShutdown) },
}

func controlRoutes(n *node, ps *pods) http.Handler {
	routes := http.NewServeMux()
	routes.HandleFunc("GET /pods", func(w http.ResponseWriter, r *http.Request) {
		shown := []shownPod{}
		for _, p := range ps.all() {
			shown = append(shown, p.show())
		}
		json.NewEncoder(w).Encode(shown)
	})
	routes.HandleFunc("POST /pods/{namespace}/{name}/{action}", func(w http.ResponseWriter, r *http.Request) {
		p := ps.find(r.PathValue("namespace"), r.PathValue("name"))
		action := actions[r.PathValue("action")]
		if p == nil || action == nil {
			http.Error(w, "no such pod or action", http.StatusNotFound)
			return
		}
		action(p)
	})
	routes.HandleFunc("POST /faults", func(w http.ResponseWriter, r *http.Request) {
		added := &rule{}
		err := json.NewDecoder(r.Body).Decode(added)
		if err == nil && !isFault(added.Name) {
			err = fmt.Errorf("no fault %q", added.Name)
		}
		if err == nil {
			err = ps.rules.add(added)
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
		}
	})
	routes.HandleFunc("DELETE /faults", func(w http.ResponseWriter, r *http.Request) { ps.rules.clear() })
	routes.HandleFunc("POST /node/lost", func(w http.ResponseWriter, r *http.Request) { n.lose(true) })
	routes.HandleFunc("POST /node/found", func(w http.ResponseWriter, r *http.Request) { n.lose(false) })
	return routes
}

func logRoutes(ps *pods) http.Handler {
	routes := http.NewServeMux()
	routes.HandleFunc("GET /containerLogs/{namespace}/{name}/{container}", func(w http.ResponseWriter, r *http.Request) {
		p := ps.find(r.PathValue("namespace"), r.PathValue("name"))
		if p == nil {
			http.Error(w, "no such pod", http.StatusNotFound)
			return
		}
		if lines, err := strconv.Atoi(r.URL.Query().Get("tailLines")); err == nil {
			fmt.Fprint(w, lastLines(p.logPath(), lines, 1<<20))
			return
		}
		content, _ := os.ReadFile(p.logPath())
		w.Write(content)
	})
	return routes
}
