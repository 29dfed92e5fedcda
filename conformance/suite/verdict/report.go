package main

import (
	"cmp"
	"fmt"
	"reflect"
	"slices"
	"strings"

	confv1 "sigs.k8s.io/gateway-api/conformance/apis/v1"
	"sigs.k8s.io/gateway-api/conformance/utils/suite"
)

// profiles: those a whole run has.
var profiles = []suite.ConformanceProfileName{
	suite.GatewayGRPCConformanceProfileName,
	suite.GatewayHTTPConformanceProfileName,
	suite.GatewayTCPConformanceProfileName,
	suite.GatewayTLSConformanceProfileName,
	suite.GatewayUDPConformanceProfileName,
	suite.MeshGRPCConformanceProfileName,
	suite.MeshHTTPConformanceProfileName,
}

// core: a profile whose extended features have no test of it.
const core = string(suite.MeshGRPCConformanceProfileName)

// sorted returns the report's profiles by name: the suite writes them in any order.
func sorted(report *confv1.ConformanceReport) []confv1.ProfileReport {
	return slices.SortedFunc(slices.Values(report.ProfileReports), func(a, b confv1.ProfileReport) int {
		return cmp.Compare(a.Name, b.Name)
	})
}

// reportProblems: what keeps the report from being whole.
func reportProblems(report *confv1.ConformanceReport, r *run) []string {
	var all, names []string
	for _, p := range sorted(report) {
		names = append(names, p.Name)
		all = append(all, statusProblems(p.Name+" core", p.Core)...)
		if p.Name == core && (p.Extended == nil || p.Extended.Passed+p.Extended.Failed+p.Extended.Skipped == 0) {
			continue
		}
		if p.Extended == nil {
			all = append(all, p.Name+" has no extended tests")
			continue
		}
		all = append(all, statusProblems(p.Name+" extended", p.Extended.Status)...)
		if len(p.Extended.UnsupportedFeatures) > 0 {
			all = append(all, p.Name+" without "+strings.Join(p.Extended.UnsupportedFeatures, ", "))
		}
	}
	for _, name := range profiles {
		if !slices.Contains(names, string(name)) {
			all = append(all, "no report of profile "+string(name))
		}
	}
	for _, name := range report.SucceededProvisionalTests {
		if r.tests[name] != passed {
			all = append(all, "the report says that it passed, the log does not: "+name)
		}
	}
	return all
}

func statusProblems(of string, s confv1.Status) []string {
	if s.Result == confv1.Success && s.Passed > 0 && s.Failed == 0 && s.Skipped == 0 {
		return nil
	}
	return []string{fmt.Sprintf("%s: %s, %d passed, %d failed, %d skipped", of, s.Result, s.Passed, s.Failed, s.Skipped)}
}

// staleness: a kept report must be what a run gives now. Its date may be another.
func staleness(file string, kept, now *confv1.ConformanceReport) []string {
	a, b := *kept, *now
	a.Date, b.Date = "", ""
	a.ProfileReports, b.ProfileReports = sorted(kept), sorted(now)
	if reflect.DeepEqual(a, b) {
		return nil
	}
	return []string{file + " is not what this run gives; `conformance/testbed suite` writes it anew"}
}
