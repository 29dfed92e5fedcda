package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"time"

	"k8s.io/client-go/util/cert"
	"k8s.io/cri-streaming/pkg/streaming/portforward"
	"k8s.io/cri-streaming/pkg/streaming/remotecommand"

	"fairway.dev/conformance/kubelet/process"
)

// serve answers what the API server asks of a kubelet: logs, exec, port-forward.
func (k *kubelet) serve(addr string) error {
	m := http.NewServeMux()
	m.HandleFunc("GET /containerLogs/{namespace}/{pod}/{container}", k.serveLogs)
	for _, path := range []string{"/exec/{namespace}/{pod}/{container}", "/exec/{namespace}/{pod}/{uid}/{container}"} {
		m.HandleFunc(path, k.serveExec)
	}
	m.HandleFunc("/portForward/{namespace}/{pod}", k.servePortForward)
	m.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok") })
	crt, key, err := cert.GenerateSelfSignedCertKey(k.node, []net.IP{k.nodeIP.AsSlice()}, nil)
	if err != nil {
		return err
	}
	pair, err := tls.X509KeyPair(crt, key)
	if err != nil {
		return err
	}
	s := &http.Server{Addr: addr, Handler: m, ReadHeaderTimeout: 10 * time.Second,
		TLSConfig: &tls.Config{Certificates: []tls.Certificate{pair}, NextProtos: []string{"http/1.1"}, MinVersion: tls.VersionTLS12},
		// exec speaks SPDY, which begins as an upgrade of HTTP/1.1.
		TLSNextProto: map[string]func(*http.Server, *tls.Conn, http.Handler){}}
	return s.ListenAndServeTLS("", "")
}

// asked gives the worker of the pod in the path, or answers 404.
func (k *kubelet) asked(w http.ResponseWriter, r *http.Request) *worker {
	found := k.find(r.PathValue("namespace"), r.PathValue("pod"))
	if found == nil {
		http.Error(w, fmt.Sprintf("pod %s/%s is not here", r.PathValue("namespace"), r.PathValue("pod")), http.StatusNotFound)
	}
	return found
}

func (k *kubelet) serveLogs(w http.ResponseWriter, r *http.Request) {
	pod := k.asked(w, r)
	if pod == nil {
		return
	}
	c := pod.container(r.PathValue("container"))
	if c == nil {
		http.Error(w, "no container "+r.PathValue("container"), http.StatusNotFound)
		return
	}
	q, err := parseLogQuery(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	number, ended := c.count(), (<-chan struct{})(nil)
	if run := c.running(); run != nil {
		number, ended = run.number, run.ended
	} else {
		closed := make(chan struct{})
		close(closed)
		ended = closed
	}
	if r.FormValue("previous") == "true" {
		if number--; number < 0 {
			http.Error(w, "previous terminated container \""+c.spec.Name+"\" not found", http.StatusBadRequest)
			return
		}
		q.follow = false
	}
	w.Header().Set("Content-Type", "text/plain")
	flush := func() { _ = http.NewResponseController(w).Flush() }
	if err := copyLog(r.Context(), w, flush, logFile(pod.logDir(c.spec.Name), number), q, ended); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
	}
}

func parseLogQuery(r *http.Request) (logQuery, error) {
	q := logQuery{follow: r.FormValue("follow") == "true", timestamps: r.FormValue("timestamps") == "true", tail: -1}
	var err error
	if s := r.FormValue("sinceTime"); s != "" {
		if q.since, err = time.Parse(time.RFC3339, s); err != nil {
			return q, fmt.Errorf("sinceTime: %w", err)
		}
	}
	if s := r.FormValue("sinceSeconds"); s != "" {
		seconds, err := strconv.Atoi(s)
		if err != nil {
			return q, fmt.Errorf("sinceSeconds: %w", err)
		}
		q.since = time.Now().Add(-time.Duration(seconds) * time.Second)
	}
	if s := r.FormValue("tailLines"); s != "" {
		if q.tail, err = strconv.Atoi(s); err != nil {
			return q, fmt.Errorf("tailLines: %w", err)
		}
	}
	if s := r.FormValue("limitBytes"); s != "" {
		if q.limit, err = strconv.ParseInt(s, 10, 64); err != nil {
			return q, fmt.Errorf("limitBytes: %w", err)
		}
	}
	return q, nil
}

func (k *kubelet) serveExec(w http.ResponseWriter, r *http.Request) {
	pod := k.asked(w, r)
	if pod == nil {
		return
	}
	options, err := remotecommand.NewOptions(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	remotecommand.ServeExec(w, r, executor{pod}, pod.name(), string(pod.uid()), r.PathValue("container"), r.URL.Query()["command"],
		options, time.Hour, 30*time.Second, remotecommand.SupportedStreamingProtocols)
}

func (k *kubelet) servePortForward(w http.ResponseWriter, r *http.Request) {
	pod := k.asked(w, r)
	if pod == nil {
		return
	}
	options, err := portforward.NewV4Options(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	portforward.ServePortForward(w, r, forwarder{pod}, pod.name(), string(pod.uid()), options, time.Hour, 30*time.Second,
		portforward.SupportedProtocols)
}

// forwarder serves kubectl port-forward for one pod.
type forwarder struct{ w *worker }

// PortForward connects a stream with a port on the pod's own loopback, as runtimes do: servers that listen only there
// can be reached.
func (f forwarder) PortForward(_ context.Context, _, _ string, port int32, stream io.ReadWriteCloser) error {
	var conn net.Conn
	err := process.In(f.w.netnsPath(), func() (err error) {
		conn, err = net.DialTimeout("tcp4", net.JoinHostPort("127.0.0.1", strconv.Itoa(int(port))), 5*time.Second)
		return err
	})
	if err != nil {
		return err
	}
	defer conn.Close()
	go func() {
		_, _ = io.Copy(conn, stream)
		_ = conn.(*net.TCPConn).CloseWrite()
	}()
	_, err = io.Copy(stream, conn)
	return err
}
