package main

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// serveEcho runs a handler on HTTP/1.1 and unencrypted HTTP/2.
func serveEcho(t *testing.T, h http.Handler) string {
	t.Helper()
	s := httptest.NewUnstartedServer(h)
	s.Config.Protocols = new(http.Protocols)
	s.Config.Protocols.SetHTTP1(true)
	s.Config.Protocols.SetUnencryptedHTTP2(true)
	s.Start()
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

func runClient(t *testing.T, args ...string) (string, bool) {
	t.Helper()
	o, err := parseOptions(args)
	if err != nil {
		t.Fatal(err)
	}
	out := &strings.Builder{}
	ok := o.run(out)
	return out.String(), ok
}

func TestHTTPAnswerCarriesTheRequest(t *testing.T) {
	addr := serveEcho(t, echoHTTP("8080"))
	out, ok := runClient(t, "http://"+addr+"/path?q=1", "-H", "X-Word: hello", "-H", "Host:shop.example", "--method=POST", "--count=2")
	for _, line := range []string{"[0] StatusCode=200\n", "[1 body] RequestHeader=X-Word:hello\n", "[0 body] Host=shop.example\n",
		"[0 body] URL=/path?q=1\n", "[0 body] Method=POST\n", "[0 body] ServicePort=8080\n", "[0 body] Proto=HTTP/1.1\n", "[0 body] Hostname="} {
		if !strings.Contains(out, line) {
			t.Errorf("no %q in\n%s", line, out)
		}
	}
	if !ok || strings.Count(out, "\n\n") != 2 {
		t.Errorf("a blank line must end each of 2 answers:\n%s", out)
	}
}

func TestGRPCAnswerCarriesStatusAndMetadata(t *testing.T) {
	addr := serveEcho(t, echoGRPC("7070"))
	out, ok := runClient(t, "grpc://"+addr, "--header=X-Word:hello", "--msg", "ping")
	for _, line := range []string{"[0 body] StatusCode=200\n", "[0 body] RequestHeader=x-word:hello\n", "[0 body] Echo=ping\n", "[0 body] Proto=GRPC\n"} {
		if !strings.Contains(out, line) {
			t.Errorf("no %q in\n%s", line, out)
		}
	}
	if !ok {
		t.Error("the client says it failed")
	}
}

func TestRedirectsAreNotFollowed(t *testing.T) {
	addr := serveEcho(t, http.RedirectHandler("/elsewhere", http.StatusFound))
	out, _ := runClient(t, "http://"+addr)
	if !strings.Contains(out, "[0] StatusCode=302\n") || !strings.Contains(out, "ResponseHeader=Location:/elsewhere") {
		t.Errorf("followed:\n%s", out)
	}
}

func TestFailedRequestsAreCounted(t *testing.T) {
	addr := serveEcho(t, http.NotFoundHandler())
	out, ok := runClient(t, "grpc://"+addr, "--count=2")
	if ok || !strings.Contains(out, "Error: 2/2 requests had errors") {
		t.Errorf("not said:\n%s", out)
	}
}

func TestMessagesAreReadAsTheyAreWritten(t *testing.T) {
	for _, message := range []string{"", "a", strings.Repeat("long ", 1000)} {
		got, err := readMessage(strings.NewReader(string(frame(message))))
		if err != nil || got != message {
			t.Errorf("%d bytes: %q, %v", len(message), got, err)
		}
	}
}

func TestBrokenMessagesAreRefused(t *testing.T) {
	whole := string(frame("message"))
	for name, s := range map[string]string{"cut": whole[:len(whole)-1], "compressed": "\x01" + whole[1:], "varint field": "\x00\x00\x00\x00\x02\x08\x01",
		"length beyond the end": "\x00\x00\x00\x00\x02\x0a\x05"} {
		if got, err := readMessage(strings.NewReader(s)); err == nil {
			t.Errorf("%s: read as %q", name, got)
		}
	}
}

func TestUnknownOptionsAreRefused(t *testing.T) {
	for _, args := range [][]string{{"http://x", "--nonsense=1"}, {"http://x", "--count=many"}, {"--count=1"}, {"not a url"}} {
		if _, err := parseOptions(args); err == nil {
			t.Errorf("%v was taken", args)
		}
	}
}
