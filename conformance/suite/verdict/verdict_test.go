package main

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	confv1 "sigs.k8s.io/gateway-api/conformance/apis/v1"
)

// lines of the suite's output, as `go test -v` writes them.
func lines(features []string, tests ...string) string {
	half := len(features) / 2
	return fmt.Sprintf("Supported features for GatewayClass fairway: [%s]\nSupported features for XMeshfairway: [%s]\n%s\n"+
		"--- PASS: TestConformance (1.00s)\n", strings.Join(features[:half], " "), strings.Join(features[half:], " "), strings.Join(tests, "\n"))
}

func everything() []string { return allFeatures().UnsortedList() }

const (
	good = "    --- PASS: TestConformance/HTTPRouteSimple (0.32s)\n        --- FAIL: TestConformance/HTTPRouteSimple/a_part (0.10s)"
)

func expect(t *testing.T, got []string, want ...string) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("got %q, want %q", got, want)
	}
	for i := range want {
		if !strings.Contains(got[i], want[i]) {
			t.Errorf("got %q, want %q", got[i], want[i])
		}
	}
}

func TestARunWithNothingLeftOutIsWhole(t *testing.T) {
	r := readRun(lines(everything(), good))
	expect(t, r.problems())
	expect(t, r.named(passed), "HTTPRouteSimple")
	if r.seconds["HTTPRouteSimple"] != 0.32 {
		t.Errorf("read as %+v", r)
	}
}

func TestAFailedTestIsAProblem(t *testing.T) {
	log := lines(everything(), good, "    --- FAIL: TestConformance/TLSRouteSimple (0.10s)")
	expect(t, readRun(log).problems(), "failed: TLSRouteSimple")
}

func TestASuiteThatEndedEarlyIsAProblem(t *testing.T) {
	log, _, _ := strings.Cut(lines(everything(), good), "--- PASS: TestConformance (")
	expect(t, readRun(log).problems(), "did not pass as a whole")
}

func TestASkippedTestIsAProblem(t *testing.T) {
	for _, reason := range []string{"suite does not support TCPRoute", "suite does not support Mesh", "test explicitly skipped"} {
		log := lines(everything(), "    c.go:1: Skipping TCPRouteSimple: "+reason, "    --- SKIP: TestConformance/TCPRouteSimple (0.00s)")
		expect(t, readRun(log).problems(), "skipped: TCPRouteSimple: "+reason)
	}
}

func TestAFeatureTheGatewayClassLeavesOutIsAProblem(t *testing.T) {
	without := slices.DeleteFunc(everything(), func(f string) bool { return f == "GRPCRouteNamedRouteRule" })
	expect(t, readRun(lines(without, good)).problems(), "names the feature GRPCRouteNamedRouteRule")
	expect(t, readRun(lines(append(everything(), "HTTPRouteOwn"), good)).problems(), "does not know: HTTPRouteOwn")
}

func TestFeaturesGivenByFlagsAreAProblem(t *testing.T) {
	_, log, _ := strings.Cut(lines(everything(), good), "\n")
	expect(t, readRun(log).problems(), "given by flags")
}

func success(n uint32) confv1.Status {
	return confv1.Status{Result: confv1.Success, Statistics: confv1.Statistics{Passed: n}}
}

func report() *confv1.ConformanceReport {
	report := &confv1.ConformanceReport{Date: "now", SucceededProvisionalTests: []string{"HTTPRouteSimple"}}
	for _, name := range profiles {
		report.ProfileReports = append(report.ProfileReports, confv1.ProfileReport{Name: string(name), Core: success(3),
			Extended: &confv1.ExtendedStatus{Status: success(2), SupportedFeatures: []string{"ListenerSet"}}})
	}
	return report
}

func TestAReportThatSaysLessThanEverythingIsAProblem(t *testing.T) {
	r := readRun(lines(everything(), good))
	expect(t, reportProblems(report(), r))
	for want, spoil := range map[string]func(*confv1.ConformanceReport){
		"no report of profile GATEWAY-UDP": func(c *confv1.ConformanceReport) {
			c.ProfileReports = append(c.ProfileReports[:4:4], c.ProfileReports[5:]...)
		},
		"without GatewayPort8080": func(c *confv1.ConformanceReport) {
			c.ProfileReports[0].Extended.UnsupportedFeatures = []string{"GatewayPort8080"}
		},
		"2 passed, 0 failed, 1 skipped": func(c *confv1.ConformanceReport) { c.ProfileReports[1].Extended.Skipped = 1 },
		"core: failure": func(c *confv1.ConformanceReport) {
			c.ProfileReports[1].Core = confv1.Status{Result: confv1.Failure, Statistics: confv1.Statistics{Failed: 1}}
		},
		"no extended tests":    func(c *confv1.ConformanceReport) { c.ProfileReports[2].Extended = nil },
		"the log does not: No": func(c *confv1.ConformanceReport) { c.SucceededProvisionalTests = []string{"No"} },
	} {
		spoiled := report()
		spoil(spoiled)
		expect(t, reportProblems(spoiled, r), want)
	}
}

func TestAKeptReportIsStaleWhenMoreThanItsDateDiffers(t *testing.T) {
	now := report()
	now.Date = "later"
	slices.Reverse(now.ProfileReports)
	expect(t, staleness("kept.yaml", report(), now))
	now.ProfileReports[0].Core.Passed++
	expect(t, staleness("kept.yaml", report(), now), "kept.yaml is not what this run gives")
}
