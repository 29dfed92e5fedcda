package main

import (
	"bytes"
	"encoding/json"
	"fmt"

	"k8s.io/apimachinery/pkg/util/yaml"
)

// tenantsCase is one row of the matrix, in one step or several.
type tenantsCase struct {
	Case  string
	Steps []step
}

// step is what is written, and what has to come of it.
type step struct {
	Pause   int    // before anything is written, in milliseconds
	Apply   string // YAML
	Delete  []name
	Status  []wantStatus
	Traffic []wantTraffic
}

type name struct{ Kind, Namespace, Name string }

// wantStatus is a condition of the present generation.
type wantStatus struct {
	Kind, Namespace, Name, Section string
	Type, Status, Reason           string
}

// wantTraffic is what a request over a connection of its own gets.
type wantTraffic struct {
	Port    int
	Host    string
	Path    string // and query; none is /
	TLS     bool
	Code    int
	By      string // the tenant whose backend answers
	Refused bool   // there is no connection
}

// readCases reads the table; a field that is misspelt is an error, for it would be a check that checks nothing.
func readCases(text string) ([]tenantsCase, error) {
	encoded, err := yaml.ToJSON([]byte(text))
	if err != nil {
		return nil, err
	}
	decoder := json.NewDecoder(bytes.NewReader(encoded))
	decoder.DisallowUnknownFields()
	var cases []tenantsCase
	if err := decoder.Decode(&cases); err != nil {
		return nil, err
	}
	for _, c := range cases {
		for i, s := range c.Steps {
			if len(s.Status)+len(s.Traffic) == 0 {
				return nil, fmt.Errorf("%s: step %d expects nothing", c.Case, i+1)
			}
		}
	}
	return cases, nil
}
