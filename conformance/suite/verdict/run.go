package main

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/util/sets"
	"sigs.k8s.io/gateway-api/pkg/features"
)

type outcome int

const (
	passed outcome = iota + 1 // what is not there has not passed
	failed
	left // skipped
)

var outcomes = map[string]outcome{"PASS": passed, "FAIL": failed, "SKIP": left}

// run: what the suite's output says. Only whole tests are counted, not their parts.
type run struct {
	tests    map[string]outcome
	seconds  map[string]float64
	reasons  map[string]string // why a test was skipped
	features []string          // features the GatewayClass and the mesh name
	asked    int               // of how many of the two the suite took its features
	ended    bool              // whether the whole passed
}

var (
	testLine    = regexp.MustCompile(`^    --- (PASS|FAIL|SKIP): TestConformance/([^/ ]+) \(([0-9.]+)s\)$`)
	skipLine    = regexp.MustCompile(`Skipping (\S+): (.*)$`)
	featureLine = regexp.MustCompile(`^Supported features for (?:GatewayClass \S+|XMesh\S+): \[(.*)\]$`)
	wholeLine   = regexp.MustCompile(`^--- PASS: TestConformance \(`)
)

func readRun(log string) *run {
	r := &run{tests: map[string]outcome{}, seconds: map[string]float64{}, reasons: map[string]string{}}
	for line := range strings.Lines(log) {
		line = strings.TrimRight(line, "\r\n")
		if m := testLine.FindStringSubmatch(line); m != nil {
			r.tests[m[2]] = outcomes[m[1]]
			r.seconds[m[2]], _ = strconv.ParseFloat(m[3], 64)
		} else if m := skipLine.FindStringSubmatch(line); m != nil {
			r.reasons[m[1]] = m[2]
		} else if m := featureLine.FindStringSubmatch(line); m != nil {
			r.asked, r.features = r.asked+1, append(r.features, strings.Fields(m[1])...)
		} else if wholeLine.MatchString(line) {
			r.ended = true
		}
	}
	return r
}

// named returns the names of tests with this outcome, sorted.
func (r *run) named(o outcome) []string {
	var names []string
	for name, got := range r.tests {
		if got == o {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

func (r *run) slowest(n int) []string {
	names := make([]string, 0, len(r.tests))
	for name := range r.tests {
		names = append(names, name)
	}
	slices.SortFunc(names, func(a, b string) int {
		return int(1000 * (r.seconds[b] - r.seconds[a]))
	})
	return names[:min(n, len(names))]
}

// problems: what keeps the run from being whole.
func (r *run) problems() []string {
	var all []string
	if !r.ended {
		all = append(all, "the suite did not pass as a whole")
	}
	for _, name := range r.named(failed) {
		all = append(all, "failed: "+name)
	}
	for _, name := range r.named(left) {
		all = append(all, fmt.Sprintf("skipped: %s: %s", name, r.reasons[name]))
	}
	if r.asked != 2 {
		return append(all, "features were given by flags; they must be those the GatewayClass and the XMesh name")
	}
	expected, named := allFeatures(), sets.New(r.features...)
	for _, name := range sets.List(expected.Difference(named)) {
		all = append(all, "neither GatewayClass nor XMesh names the feature "+name)
	}
	for _, name := range sets.List(named.Difference(expected)) {
		all = append(all, "GatewayClass or XMesh names a feature that the suite does not know: "+name)
	}
	return all
}

// allFeatures: all that this version of Gateway API has.
func allFeatures() sets.Set[string] {
	all := sets.New[string]()
	for f := range features.AllFeatures {
		all.Insert(string(f.Name))
	}
	return all
}
