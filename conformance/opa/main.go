// Command opa serves Envoy's Authorization service with decisions of Open Policy Agent: the real evaluator, the real
// messages and the real gRPC of others, so that a test of extAuth does not only meet what Fairway itself makes of them.
//
// It prints the address it listens on, and ends with its standard input.
package main

import (
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"os"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"github.com/open-policy-agent/opa/v1/rego"
	"google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/encoding/protojson"

	"encoding/json"
)

type server struct {
	authv3.UnimplementedAuthorizationServer
	query rego.PreparedEvalQuery
}

func main() {
	if len(os.Args) != 2 {
		log.Fatal("usage: opa POLICY.rego")
	}
	ctx := context.Background()
	query, err := rego.New(rego.Query("data.authz.result"), rego.Load(os.Args[1:], nil)).PrepareForEval(ctx)
	if err != nil {
		log.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(listener.Addr())
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}()
	grpcServer := grpc.NewServer()
	authv3.RegisterAuthorizationServer(grpcServer, &server{query: query})
	log.Fatal(grpcServer.Serve(listener))
}

// result is what the policy says: as the plugin of OPA for Envoy reads it.
type result struct {
	Allowed                bool              `json:"allowed"`
	Headers                map[string]string `json:"headers"`
	RequestHeadersToRemove []string          `json:"request_headers_to_remove"`
	ResponseHeadersToAdd   map[string]string `json:"response_headers_to_add"`
	HTTPStatus             int32             `json:"http_status"`
	Body                   string            `json:"body"`
}

func (s *server) Check(ctx context.Context, request *authv3.CheckRequest) (*authv3.CheckResponse, error) {
	text, err := protojson.Marshal(request)
	if err != nil {
		return nil, err
	}
	var input any
	if err := json.Unmarshal(text, &input); err != nil {
		return nil, err
	}
	set, err := s.query.Eval(ctx, rego.EvalInput(input))
	if err != nil {
		return nil, err
	}
	if len(set) == 0 || len(set[0].Expressions) == 0 {
		return nil, fmt.Errorf("the policy says nothing of %s", text)
	}
	said, err := json.Marshal(set[0].Expressions[0].Value)
	if err != nil {
		return nil, err
	}
	var decision result
	if err := json.Unmarshal(said, &decision); err != nil {
		return nil, err
	}
	return decision.response(), nil
}

func (r result) response() *authv3.CheckResponse {
	if r.Allowed {
		return &authv3.CheckResponse{
			Status: &status.Status{Code: int32(codes.OK)},
			HttpResponse: &authv3.CheckResponse_OkResponse{OkResponse: &authv3.OkHttpResponse{
				Headers:              options(r.Headers),
				HeadersToRemove:      r.RequestHeadersToRemove,
				ResponseHeadersToAdd: options(r.ResponseHeadersToAdd),
			}},
		}
	}
	return &authv3.CheckResponse{
		Status: &status.Status{Code: int32(codes.PermissionDenied)},
		HttpResponse: &authv3.CheckResponse_DeniedResponse{DeniedResponse: &authv3.DeniedHttpResponse{
			Status:  &typev3.HttpStatus{Code: typev3.StatusCode(r.HTTPStatus)},
			Headers: options(r.Headers),
			Body:    r.Body,
		}},
	}
}

func options(headers map[string]string) []*corev3.HeaderValueOption {
	list := make([]*corev3.HeaderValueOption, 0, len(headers))
	for key, value := range headers {
		list = append(list, &corev3.HeaderValueOption{Header: &corev3.HeaderValue{Key: key, Value: value}})
	}
	return list
}
