package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"
)

// options of the client, as the suite gives them.
type options struct {
	target          *url.URL
	method, message string
	headers         []string
	count           int
	timeout         time.Duration
	fresh           bool // a connection per request
}

// answer is what one request gave; the client prints it in the echo client's format.
type answer struct {
	status  int // 0: the body carries its own StatusCode line (gRPC)
	headers http.Header
	body    string
}

func client(args []string) {
	o, err := parseOptions(args)
	if err != nil {
		fmt.Fprintf(os.Stderr, "client: %v\n", err)
		os.Exit(1)
	}
	if !o.run(os.Stdout) {
		os.Exit(1)
	}
}

// parseOptions reads URL and options in any order, with one or two dashes, as --name=value or --name value.
func parseOptions(args []string) (*options, error) {
	o := &options{method: "GET", count: 1, timeout: 10 * time.Second}
	for i := 0; i < len(args); i++ {
		name, value, has := strings.Cut(strings.TrimLeft(args[i], "-"), "=")
		if !strings.HasPrefix(args[i], "-") {
			u, err := url.Parse(args[i])
			if err != nil || u.Host == "" {
				return nil, fmt.Errorf("bad URL %q", args[i])
			}
			o.target = u
			continue
		}
		if name == "new-connection-per-request" {
			o.fresh = value != "false"
			continue
		}
		if !has && i+1 < len(args) {
			i++
			value = args[i]
		}
		var err error
		switch name {
		case "H", "header":
			o.headers = append(o.headers, value)
		case "method":
			o.method = value
		case "msg":
			o.message = value
		case "count":
			o.count, err = strconv.Atoi(value)
		case "timeout":
			o.timeout, err = time.ParseDuration(value)
		default:
			err = fmt.Errorf("not an option this echo client knows")
		}
		if err != nil {
			return nil, fmt.Errorf("--%s: %w", name, err)
		}
	}
	if o.target == nil {
		return nil, fmt.Errorf("no URL")
	}
	return o, nil
}

// run makes the requests, one after the other, and tells whether all were answered. Redirects are not followed.
func (o *options) run(out io.Writer) bool {
	transport := &http.Transport{DisableKeepAlives: o.fresh, DisableCompression: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
	if o.target.Scheme == "grpc" {
		transport.Protocols = new(http.Protocols)
		transport.Protocols.SetUnencryptedHTTP2(true)
	}
	c := &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	failed := 0
	var first error
	for n := range o.count {
		fmt.Fprintf(out, "[%d] Url=%s\n", n, o.target)
		for _, h := range o.headers {
			fmt.Fprintf(out, "[%d] Header=%s\n", n, h)
		}
		start := time.Now()
		ctx, cancel := context.WithTimeout(context.Background(), o.timeout)
		a, err := o.request(ctx, c)
		cancel()
		if err != nil {
			fmt.Fprintf(out, "[%d error] %v\n\n", n, err)
			if failed++; first == nil {
				first = err
			}
			continue
		}
		fmt.Fprintf(out, "[%d] Latency=%v\n", n, time.Since(start))
		a.print(out, n)
	}
	if failed > 0 {
		fmt.Fprintf(out, "Error: %d/%d requests had errors; first error: %v\n", failed, o.count, first)
	}
	return failed == 0
}

// print writes the lines that the suite parses; a blank line ends an answer.
func (a *answer) print(out io.Writer, n int) {
	if a.status != 0 {
		fmt.Fprintf(out, "[%d] StatusCode=%d\n", n, a.status)
	}
	for name, values := range a.headers {
		for _, v := range values {
			fmt.Fprintf(out, "[%d] ResponseHeader=%s:%s\n", n, name, v)
		}
	}
	for l := range strings.SplitSeq(a.body, "\n") {
		if l != "" {
			fmt.Fprintf(out, "[%d body] %s\n", n, l)
		}
	}
	fmt.Fprintln(out)
}
