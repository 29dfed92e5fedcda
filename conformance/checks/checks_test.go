package main

import (
	"strings"
	"testing"

	"fairway.dev/conformance/checks/cluster"
	"fairway.dev/conformance/checks/load"
)

func TestTheMatrixIsReadAndItsManifestsAre(t *testing.T) {
	cases, err := readCases(tenantsTable)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range cases {
		for _, s := range c.Steps {
			for _, o := range cluster.Parse(s.Apply) {
				if o.GetKind() == "" || o.GetName() == "" {
					t.Errorf("%s: %v", c.Case, o)
				}
			}
		}
	}
}

func TestAMisspeltExpectationIsRefused(t *testing.T) {
	for _, text := range []string{
		"[{ case: a, steps: [{ trafic: [] }] }]",
		"[{ case: a, steps: [{ traffic: [{ cod: 404 }] }] }]",
		"[{ case: a, steps: [{ apply: '' }] }]",
	} {
		if _, err := readCases(text); err == nil {
			t.Errorf("%s is taken", text)
		}
	}
}

func TestNonsenseIsAsLargeAsTheAPITakes(t *testing.T) {
	authority, err := newAuthority()
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{name: "n", backends: []*load.Backend{{Name: "a", Address: nodeAddress, Port: 1}}}
	all, err := absurdities(b, authority)
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	for _, a := range all {
		if names[a.what] {
			t.Errorf("%s twice", a.what)
		}
		names[a.what] = true
		if a.refused == "" && (a.kind == "" || a.want.Type == "" || a.want.Reason == "") {
			t.Errorf("%s expects nothing", a.what)
		}
		if a.name == "huge" {
			rules := a.objects[0].Object["spec"].(map[string]any)["rules"].([]any)
			matches := 0
			for _, rule := range rules {
				matches += len(rule.(map[string]any)["matches"].([]any))
			}
			if len(rules) != 16 || matches != 128 {
				t.Errorf("%d rules, %d matches", len(rules), matches)
			}
		}
	}
}

func TestAFailureFailsTheCheck(t *testing.T) {
	r := newReport("test", true)
	if r.end() != 1 {
		t.Error("a check that checked nothing passes")
	}
	r.require(true, "right")
	if r.end() != 0 {
		t.Error("fails without a failure")
	}
	r.within(2, 1, "slow")
	if r.end() != 1 || !strings.Contains(r.failed[0], "slow") {
		t.Error("a time over its limit passes")
	}
	r = newReport("short", false)
	r.require(true, "right")
	if r.within(2, 1, "slow"); r.end() != 0 {
		t.Error("a short run judges times")
	}
}
