// Package load sends requests at a steady rate and counts every one.
package load

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"time"
)

// Limit of one request, from its due time.
const Limit = 10 * time.Second

// Client sends requests to one address, whatever host they name.
type Client struct {
	Name    string
	http    *http.Client
	scheme  string
	fresh   bool // a connection for each request
	again   bool // the protocol itself says which requests were not processed and may be sent again
	address string
}

// Answer is what came back.
type Answer struct {
	Status int
	Header http.Header
	Body   string
	TLS    *tls.ConnectionState
	Again  int  // how often the request was sent again
	Fresh  bool // over a connection of its own
}

// HTTP1 keeps connections alive.
func HTTP1(address string) *Client {
	return newClient("h1", address, "http", nil, func(p *http.Protocols) { p.SetHTTP1(true) })
}

// HTTPS1 is HTTP1 over TLS.
func HTTPS1(address string, roots *x509.CertPool) *Client {
	return newClient("h1s", address, "https", roots, func(p *http.Protocols) { p.SetHTTP1(true) })
}

// HTTPS2 multiplexes over one connection with TLS.
func HTTPS2(address string, roots *x509.CertPool) *Client {
	c := newClient("h2", address, "https", roots, func(p *http.Protocols) { p.SetHTTP2(true) })
	// RFC 9113 §6.8: requests above the last stream of a GOAWAY "were not or might not be processed" and are sent again.
	c.again = true
	return c
}

// Fresh gives a client that makes a connection for each request.
func (c *Client) Fresh() *Client {
	fresh := *c
	transport := c.http.Transport.(*http.Transport).Clone()
	transport.DisableKeepAlives = true
	dial := transport.DialContext
	transport.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dial(ctx, network, address)
		if tcp, is := conn.(*net.TCPConn); is {
			_ = tcp.SetLinger(0) // thousands a second would use up the ports in TIME_WAIT
		}
		return conn, err
	}
	fresh.http = &http.Client{Transport: transport, CheckRedirect: noRedirect, Timeout: Limit}
	fresh.Name, fresh.fresh = c.Name+"/new", true
	return &fresh
}

func newClient(name, address, scheme string, roots *x509.CertPool, protocols func(*http.Protocols)) *Client {
	dialer := &net.Dialer{Timeout: 5 * time.Second}
	transport := &http.Transport{
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return dialer.DialContext(ctx, network, address)
		},
		TLSClientConfig:     &tls.Config{RootCAs: roots},
		TLSHandshakeTimeout: 5 * time.Second,
		MaxIdleConnsPerHost: 1024,
		DisableCompression:  true,
		Protocols:           new(http.Protocols),
	}
	protocols(transport.Protocols)
	return &Client{
		Name: name, scheme: scheme, address: address,
		http: &http.Client{Transport: transport, CheckRedirect: noRedirect, Timeout: Limit},
	}
}

func noRedirect(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

// Get asks for a path of a host. An answer that came only because the client library tried again behind our back is an
// error, unless the protocol says that it may.
func (c *Client) Get(ctx context.Context, host, path string) (*Answer, error) {
	sent := 0
	trace := &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { sent++ }}
	request, err := http.NewRequestWithContext(httptrace.WithClientTrace(ctx, trace), http.MethodGet, c.scheme+"://"+host+path, nil)
	if err != nil {
		return nil, err
	}
	if c.scheme == "http" {
		// Connections are kept by this name: one for all hosts, of which there may be more than an address may have connections.
		request.Host, request.URL.Host = host, c.address
	}
	response, err := c.http.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, 16<<20))
	if err != nil {
		return nil, fmt.Errorf("%d, then: %w", response.StatusCode, err)
	}
	if sent > 1 && !c.again {
		return nil, fmt.Errorf("the connection was closed under the request: it was sent %d times", sent)
	}
	return &Answer{response.StatusCode, response.Header, string(body), response.TLS, sent - 1, c.fresh}, nil
}

// Close ends idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }
