package main

import (
	"fmt"
	"sync"
	"time"
)

// report prints figures and verdicts as they come, and remembers failures.
type report struct {
	mu     sync.Mutex
	name   string
	judges bool // times: a busy machine makes them meaningless
	began  time.Time
	passed int
	failed []string
}

func newReport(name string, judges bool) *report {
	return &report{name: name, judges: judges, began: time.Now()}
}

func (r *report) line(kind, format string, arguments ...any) {
	fmt.Printf("%-7s %6.1f s  %s\n", kind, time.Since(r.began).Seconds(), fmt.Sprintf(format, arguments...))
}

// figure tells a number.
func (r *report) figure(format string, arguments ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.line("figure", format, arguments...)
}

// fail tells what is wrong.
func (r *report) fail(format string, arguments ...any) {
	r.require(false, format, arguments...)
}

// require tells whether something holds.
func (r *report) require(holds bool, format string, arguments ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if holds {
		r.passed++
		r.line("PASS", format, arguments...)
		return
	}
	r.failed = append(r.failed, fmt.Sprintf(format, arguments...))
	r.line("FAIL", format, arguments...)
}

// within tells whether a time is within its limit.
func (r *report) within(got, limit time.Duration, format string, arguments ...any) {
	text := fmt.Sprintf("%s: %.1f ms (limit %s)", fmt.Sprintf(format, arguments...), float64(got.Microseconds())/1000, limit)
	if !r.judges {
		r.figure("%s, not judged", text)
		return
	}
	r.require(got <= limit, "%s", text)
}

// first prints the first ten of a list of what went wrong.
func (r *report) first(list []string) {
	for i, one := range list {
		if i == 10 {
			fmt.Printf("        … and %d more\n", len(list)-i)
			return
		}
		fmt.Printf("        %s\n", one)
	}
}

// end sums up, and gives the exit code.
func (r *report) end() int {
	if len(r.failed) == 0 && r.passed > 0 {
		fmt.Printf("PASS    %s: %d of %d, %.0f s\n", r.name, r.passed, r.passed, time.Since(r.began).Seconds())
		return 0
	}
	fmt.Printf("FAIL    %s: %d of %d failed, %.0f s\n", r.name, len(r.failed), r.passed+len(r.failed), time.Since(r.began).Seconds())
	r.first(r.failed)
	return 1
}
