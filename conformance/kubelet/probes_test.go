package main

import (
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
)

func TestVerdictChangesAfterEnoughEqualResults(t *testing.T) {
	for name, c := range map[string]struct {
		success, failure int32
		initially        bool
		results, want    string // + good, - bad, after each result
	}{
		"at once":                {1, 1, false, "+-+", "+-+"},
		"two bad in a row":       {1, 2, true, "-+--+", "+++-+"},
		"three good in a row":    {3, 1, false, "++-+++", "-----+"},
		"defaults are one":       {0, 0, false, "+-", "+-"},
		"stays where it started": {2, 3, true, "--+--+", "++++++"},
	} {
		th := newThreshold(&v1.Probe{SuccessThreshold: c.success, FailureThreshold: c.failure}, c.initially)
		for i, r := range c.results {
			th.add(r == '+')
			if th.verdict != (c.want[i] == '+') {
				t.Errorf("%s: after %s: %v", name, c.results[:i+1], th.verdict)
			}
		}
	}
}

func TestDecisionIsToldOnlyWithEnoughResults(t *testing.T) {
	th := newThreshold(&v1.Probe{FailureThreshold: 3}, true)
	for i, want := range []bool{false, false, true} {
		if got := th.add(false); got != want {
			t.Errorf("failure %d: %v", i+1, got)
		}
	}
}

func TestBackoffGrowsAndForgives(t *testing.T) {
	var b backoff
	for i, want := range []time.Duration{0, time.Second, 2 * time.Second, 4 * time.Second, 5 * time.Second, 5 * time.Second} {
		if got := b.next(0, 5*time.Second); got != want {
			t.Errorf("restart %d: %s, want %s", i, got, want)
		}
	}
	if got := b.next(time.Minute, 5*time.Second); got != 0 {
		t.Errorf("after a long run: %s", got)
	}
}
