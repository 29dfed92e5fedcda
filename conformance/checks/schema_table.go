package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/yaml"

	"fairway.dev/conformance/checks/cluster"
)

// bad is an object with one mistake.
type bad struct {
	Field string         // that is named, below spec
	Says  string         // what is said of it
	Times int            // how often the first entry of the list at Field is there, or the letters of a text are
	Spec  map[string]any // what is right is put beside it
}

func (r *bad) field() string { return strings.TrimSuffix("spec."+r.Field, ".") }

func (r *bad) object(kind string) *unstructured.Unstructured {
	o := objectOf(kind, r.Spec)
	if r.Times > 0 {
		path := append([]string{"spec"}, strings.Split(r.Field, ".")...)
		if list, is, _ := unstructured.NestedSlice(o.Object, path...); is {
			repeated := make([]any, r.Times)
			for i := range repeated {
				repeated[i] = list[0]
			}
			_ = unstructured.SetNestedSlice(o.Object, repeated, path...) // it was read there
		} else if text, is, _ := unstructured.NestedString(o.Object, path...); is {
			_ = unstructured.SetNestedField(o.Object, strings.Repeat(text, r.Times), path...)
		}
	}
	return o
}

// readRows reads the table; a field that is misspelt is an error, for it would be a check that checks nothing.
func readRows(text string) ([]bad, error) {
	encoded, err := yaml.ToJSON([]byte(text))
	if err != nil {
		return nil, err
	}
	decoder := json.NewDecoder(bytes.NewReader(encoded))
	decoder.DisallowUnknownFields()
	var rows []bad
	if err := decoder.Decode(&rows); err != nil {
		return nil, err
	}
	for i := range rows {
		if rows[i].Spec == nil {
			return nil, fmt.Errorf("row %d has no spec", i)
		}
		cluster.Whole(rows[i].Spec)
	}
	return rows, nil
}

// tabled gives the policies of a table of proxies' decisions, of those parts that the schema has.
func tabled(text string, spec map[string]any) ([]*unstructured.Unstructured, error) {
	var table struct {
		Policies map[string]any
		Rows     []struct{ Policies map[string]any }
	}
	encoded, err := yaml.ToJSON([]byte(text))
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(encoded, &table); err != nil {
		return nil, err
	}
	parts, _, err := unstructured.NestedMap(spec, "properties", "defaults", "properties")
	if err != nil {
		return nil, err
	}
	var all []*unstructured.Unstructured
	add := func(policies map[string]any) {
		said := map[string]any{}
		for name, part := range policies {
			if _, is := parts[name]; is {
				said[name] = part
			}
		}
		if len(said) > 0 {
			cluster.Whole(said)
			all = append(all, objectOf("SecurityPolicy", said))
		}
	}
	add(table.Policies)
	for _, row := range table.Rows {
		add(row.Policies)
	}
	return all, nil
}
