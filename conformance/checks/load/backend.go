package load

import (
	"net"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"
)

// Backend answers every request with its name. It runs in the node's network, where pods reach it.
type Backend struct {
	Name    string
	Address string
	Port    int
	server  *http.Server
	status  atomic.Int64
	delay   atomic.Int64
}

// Serve starts a backend on a free port of an address.
func Serve(name, address string) (*Backend, error) {
	listener, err := net.Listen("tcp", net.JoinHostPort(address, "0"))
	if err != nil {
		return nil, err
	}
	b := &Backend{Name: name, Address: address, Port: listener.Addr().(*net.TCPAddr).Port}
	b.Behave(http.StatusOK, 0)
	b.server = &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		time.Sleep(time.Duration(b.delay.Load()))
		w.Header().Set("X-Backend", name)
		w.Header().Set("Content-Length", strconv.Itoa(len(name)))
		w.WriteHeader(int(b.status.Load()))
		_, _ = w.Write([]byte(name))
	})}
	go func() { _ = b.server.Serve(listener) }()
	return b, nil
}

// Behave says how it answers from now on: its status, and after how long.
func (b *Backend) Behave(status int, delay time.Duration) {
	b.status.Store(int64(status))
	b.delay.Store(int64(delay))
}

// Close ends it at once.
func (b *Backend) Close() { _ = b.server.Close() }
