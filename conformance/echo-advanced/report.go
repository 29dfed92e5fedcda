package main

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"sort"
	"strings"
)

// report writes what the server saw of a request: one Key=value line per field.
func report(r *http.Request, port, proto string) string {
	host, _ := os.Hostname()
	ip, _, _ := net.SplitHostPort(r.RemoteAddr)
	b := &strings.Builder{}
	fmt.Fprintf(b, "ServiceVersion=\nServicePort=%s\nHost=%s\n", port, r.Host)
	if proto != "GRPC" {
		fmt.Fprintf(b, "URL=%s\nMethod=%s\n", r.URL.RequestURI(), r.Method)
	}
	fmt.Fprintf(b, "Proto=%s\nIP=%s\n", proto, ip)
	names := make([]string, 0, len(r.Header))
	for k := range r.Header {
		names = append(names, k)
	}
	sort.Strings(names)
	for _, k := range names {
		for _, v := range r.Header[k] {
			if proto == "GRPC" {
				k = strings.ToLower(k)
			}
			fmt.Fprintf(b, "RequestHeader=%s:%s\n", k, v)
		}
	}
	fmt.Fprintf(b, "Hostname=%s\n", host)
	return b.String()
}
