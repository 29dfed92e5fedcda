package load

import (
	"net"
	"net/http"
	"strconv"
)

// Backend answers every request with its name. It runs in the node's network, where pods reach it.
type Backend struct {
	Name    string
	Address string
	Port    int
	server  *http.Server
}

// Serve starts a backend on a free port of an address.
func Serve(name, address string) (*Backend, error) {
	listener, err := net.Listen("tcp", net.JoinHostPort(address, "0"))
	if err != nil {
		return nil, err
	}
	b := &Backend{Name: name, Address: address, Port: listener.Addr().(*net.TCPAddr).Port}
	b.server = &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Backend", name)
		w.Header().Set("Content-Length", strconv.Itoa(len(name)))
		_, _ = w.Write([]byte(name))
	})}
	go func() { _ = b.server.Serve(listener) }()
	return b, nil
}

// Close ends it at once.
func (b *Backend) Close() { _ = b.server.Close() }
