package load

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

func serve(t *testing.T, handler http.HandlerFunc) string {
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return server.Listener.Addr().String()
}

func finished() <-chan error {
	done := make(chan error, 1)
	done <- nil
	return done
}

func TestEveryAnswerThatIsNot200IsCounted(t *testing.T) {
	var n atomic.Int64
	address := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		if n.Add(1)%10 == 0 {
			http.Error(w, "busy", http.StatusServiceUnavailable)
		}
	})
	plan := Plan{Rate: 1000, Least: 200, Done: finished(), Clients: []*Client{HTTP1(address), HTTP1(address).Fresh()}, Host: "x.example"}
	record := plan.Run(t.Context())
	if record.Sent != 200 || len(record.Failures) != 20 || len(record.Times) != 200 {
		t.Errorf("%d sent, %d failed, %d times", record.Sent, len(record.Failures), len(record.Times))
	}
	if len(record.Failures) > 0 && !strings.Contains(record.Failures[0].Err, "503: busy") {
		t.Error(record.Failures[0])
	}
}

// Go's client sends a request again when a kept connection turns out to be closed: here that is a lost request.
func TestARequestThatTheLibrarySentAgainIsAFailure(t *testing.T) {
	var n atomic.Int64
	address := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		if n.Add(1) == 2 {
			conn, _, _ := w.(http.Hijacker).Hijack()
			conn.Close()
		}
	})
	client := HTTP1(address)
	if _, err := client.Get(t.Context(), "x.example", "/"); err != nil {
		t.Fatal(err)
	}
	if _, err := client.Get(t.Context(), "x.example", "/"); err == nil || !strings.Contains(err.Error(), "sent 2 times") {
		t.Errorf("%v after %d requests", err, n.Load())
	}
}

func TestSlowAnswersDoNotSlowTheLoad(t *testing.T) {
	var now, most atomic.Int64
	address := serve(t, func(http.ResponseWriter, *http.Request) {
		most.Store(max(most.Load(), now.Add(1)))
		time.Sleep(300 * time.Millisecond)
		now.Add(-1)
	})
	plan := Plan{Rate: 200, Least: 50, Done: finished(), Clients: []*Client{HTTP1(address)}, Host: "x.example"}
	if record := plan.Run(t.Context()); len(record.Failures) > 0 || most.Load() < 10 {
		t.Errorf("%d at once, %v", most.Load(), record.Failures)
	}
}

func TestTheLoadLastsAsLongAsTheFault(t *testing.T) {
	address := serve(t, func(http.ResponseWriter, *http.Request) {})
	done := make(chan error, 1)
	time.AfterFunc(300*time.Millisecond, func() { done <- nil })
	plan := Plan{Rate: 200, Least: 1, Done: done, Settle: 100 * time.Millisecond, Clients: []*Client{HTTP1(address)}, Host: "x.example"}
	began := time.Now()
	record := plan.Run(t.Context())
	if took := time.Since(began); took < 400*time.Millisecond || record.Sent < 20 {
		t.Errorf("%d requests in %s", record.Sent, took)
	}
}

func TestAConnectionThatIsRefusedIsAFailure(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	listener.Close()
	if _, err := HTTP1(listener.Addr().String()).Get(context.Background(), "x.example", "/"); err == nil {
		t.Error("answered by nobody")
	}
}

func TestQuantilesAreTimesThatWereSeen(t *testing.T) {
	times := Times{4, 1, 3, 2}
	for share, want := range map[float64]time.Duration{0.5: 2, 0.75: 3, 0.99: 4, 1: 4} {
		if got := times.At(share); got != want {
			t.Errorf("%v: %v, not %v", share, got, want)
		}
	}
	if got := (Times{}).At(0.5); got != 0 {
		t.Error(got)
	}
}
