package load

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// most requests that may be under way: beyond it the generator is what is tested.
const most = 8192

// Plan is a load.
type Plan struct {
	Rate    int           // requests a second
	Least   int           // requests
	Done    <-chan error  // what goes on meanwhile; the load lasts at least as long
	Settle  time.Duration // and this much longer
	Clients []*Client     // in turn
	Host    string
	// Before is asked when a request is due; what it gives goes to Judge with the answer.
	Before func() int64
	// Judge says what is wrong with an answer that has status 200.
	Judge func(before int64, answer *Answer) error
}

// Failure is a request that failed.
type Failure struct {
	At     time.Duration // since the load began
	Client string
	Err    string
}

func (f Failure) String() string {
	return fmt.Sprintf("at %8.3f s by %s: %s", f.At.Seconds(), f.Client, f.Err)
}

// Record is what became of a load.
type Record struct {
	mu       sync.Mutex
	Sent     int
	Again    int // sent again because a GOAWAY said so
	Failures []Failure
	Times    Times // from due to answered
	Err      error // of what went on meanwhile
}

// Run sends request number i at i/Rate, whatever became of those before (an open loop), and counts every one.
func (p *Plan) Run(ctx context.Context) *Record {
	record := &Record{}
	var flying sync.WaitGroup
	room := make(chan struct{}, most)
	began := time.Now()
	var end time.Time // known once what goes on meanwhile is over
	done := p.Done
	for i := 0; ; i++ {
		due := began.Add(time.Duration(i) * time.Second / time.Duration(p.Rate))
		select {
		case record.Err = <-done:
			end, done = time.Now().Add(p.Settle), nil
		case <-ctx.Done():
			record.Err = fmt.Errorf("the load was cut off after %d requests: %w", i, context.Cause(ctx))
			end, done = time.Now(), nil
			flying.Wait()
			return record
		case <-time.After(time.Until(due)):
		}
		if done == nil && i >= p.Least && time.Now().After(end) {
			break
		}
		client := p.Clients[i%len(p.Clients)]
		select {
		case room <- struct{}{}:
		default:
			record.add(Failure{time.Since(began), client.Name, fmt.Sprintf("%d requests are under way", most)}, 0, 0)
			continue
		}
		flying.Add(1)
		go func() {
			defer func() { <-room; flying.Done() }()
			record.one(ctx, p, client, began, due)
		}()
	}
	flying.Wait()
	return record
}

func (r *Record) one(ctx context.Context, p *Plan, client *Client, began, due time.Time) {
	var before int64
	if p.Before != nil {
		before = p.Before()
	}
	failure := Failure{At: time.Since(began), Client: client.Name}
	answer, err := client.Get(ctx, p.Host, "/")
	took := time.Since(due)
	again := 0
	switch {
	case err != nil:
		failure.Err = err.Error()
	case answer.Status != 200:
		failure.Err = fmt.Sprintf("status %d: %.200s", answer.Status, answer.Body)
	default:
		again = answer.Again
		if p.Judge != nil {
			if err := p.Judge(before, answer); err != nil {
				failure.Err = err.Error()
			}
		}
	}
	r.add(failure, again, took)
}

func (r *Record) add(failure Failure, again int, took time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.Sent++
	r.Again += again
	r.Times = append(r.Times, took)
	if failure.Err != "" {
		r.Failures = append(r.Failures, failure)
	}
}
