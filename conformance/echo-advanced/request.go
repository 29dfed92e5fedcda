package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
)

// request makes one request, over HTTP or as a unary gRPC call.
func (o *options) request(ctx context.Context, c *http.Client) (*answer, error) {
	to, method, body := *o.target, o.method, io.Reader(nil)
	grpc := to.Scheme == "grpc"
	if grpc {
		to.Scheme, to.Path, method, body = "http", echoMethod, "POST", bytes.NewReader(frame(o.message))
	}
	req, err := http.NewRequestWithContext(ctx, method, to.String(), body)
	if err != nil {
		return nil, err
	}
	if grpc {
		req.Header.Set("Content-Type", "application/grpc")
		req.Header.Set("Te", "trailers")
	}
	for _, h := range o.headers {
		k, v, _ := strings.Cut(h, ":")
		if v = strings.TrimSpace(v); strings.EqualFold(k, "host") {
			req.Host = v
		} else {
			req.Header.Add(k, v)
		}
	}
	resp, err := c.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if !grpc {
		b, err := io.ReadAll(resp.Body)
		return &answer{resp.StatusCode, resp.Header, string(b)}, err
	}
	if resp.StatusCode != 200 {
		return nil, fmt.Errorf("rpc error: code = Unavailable desc = unexpected HTTP status code received from server: %d", resp.StatusCode)
	}
	text, readErr := readMessage(resp.Body)
	_, _ = io.Copy(io.Discard, resp.Body) // the trailers are known at the end of the body
	status, desc := resp.Trailer.Get("Grpc-Status"), resp.Trailer.Get("Grpc-Message")
	if status == "" {
		status, desc = resp.Header.Get("Grpc-Status"), resp.Header.Get("Grpc-Message")
	}
	if status != "0" {
		return nil, fmt.Errorf("rpc error: code = %s desc = %s", status, desc)
	}
	return &answer{0, resp.Header, text}, readErr
}
