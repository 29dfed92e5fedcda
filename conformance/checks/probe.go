package main

import (
	"context"
	"fmt"
	"net"
	"time"

	"fairway.dev/conformance/checks/cluster"
	"fairway.dev/conformance/checks/load"
)

// pause between two questions: short against what is measured, long enough to leave the processor to others.
const pause = time.Millisecond

// patience is how long something is waited for that should take milliseconds.
const patience = 30 * time.Second

// direct gives a client for each proxy: a change is served when all serve it.
func direct(pods []cluster.Pod, port string) []*load.Client {
	var all []*load.Client
	for _, pod := range pods {
		all = append(all, load.HTTP1(net.JoinHostPort(pod.Address, port)))
	}
	return all
}

// probe is a change that is watched from outside.
type probe struct {
	clients []*load.Client
	host    string
	// isOld and isNew judge answers; what is neither is wrong.
	isOld, isNew func(*load.Answer) bool
}

// served asks one proxy after the other until each gives the new answer, and tells how long after `since` that was.
func (p *probe) served(ctx context.Context, since time.Time) (time.Duration, error) {
	for _, client := range p.clients {
		for {
			answer, err := client.Get(ctx, p.host, "/")
			if err != nil {
				return 0, fmt.Errorf("%s: %w", p.host, err)
			}
			if p.isNew(answer) {
				break
			}
			if !p.isOld(answer) {
				return 0, fmt.Errorf("%s: wrong answer: %s", p.host, summary(answer))
			}
			if time.Since(since) > patience {
				return 0, fmt.Errorf("%s: not served after %s: %s", p.host, patience, summary(answer))
			}
			time.Sleep(pause)
		}
	}
	return time.Since(since), nil
}

// added is a probe for a new route: 404 until its backend answers.
func added(clients []*load.Client, host, backend string) *probe {
	return &probe{
		clients: clients, host: host,
		isOld: func(a *load.Answer) bool { return a.Status == 404 },
		isNew: func(a *load.Answer) bool { return a.Status == 200 && a.Body == backend },
	}
}

// edited is a probe for a route that changes from one edit to the next.
func edited(clients []*load.Client, host string, from, to int) *probe {
	shows := func(a *load.Answer, edit int) bool {
		return a.Status == 200 && a.Header.Get("X-Edit") == fmt.Sprint(edit)
	}
	return &probe{
		clients: clients, host: host,
		isOld: func(a *load.Answer) bool { return shows(a, from) },
		isNew: func(a *load.Answer) bool { return shows(a, to) },
	}
}

func summary(a *load.Answer) string {
	return fmt.Sprintf("%d %v %.100q", a.Status, a.Header, a.Body)
}
