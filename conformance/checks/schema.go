package main

import (
	"context"
	_ "embed"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"fairway.dev/conformance/checks/cluster"
)

// schemaTable is what nobody can follow of a SecurityPolicy, a row for each validation of its CRD.
//
//go:embed schema.yaml
var schemaTable string

// schema asks the API server what it takes, and keeps nothing: of bad policies it must refuse each, by the name of the field, and
// no validation may be there that no bad policy shows; of what is good it must take everything.
func schema(ctx context.Context, b *bench, _ []string) error {
	rows, err := readRows(schemaTable)
	if err != nil {
		return err
	}
	crd, err := b.Get(ctx, "CustomResourceDefinition", "", "securitypolicies.fairway.dev")
	if err != nil {
		return err
	}
	spec, err := specOf(crd)
	if err != nil {
		return err
	}
	var said strings.Builder
	for _, row := range rows {
		err := b.Try(ctx, row.policy())
		// Of two entries with one key there is no object to validate: the apply itself fails.
		isRefused := apierrors.IsInvalid(err) || err != nil && strings.Contains(err.Error(), "duplicate entries")
		holds := isRefused && strings.Contains(err.Error(), row.field()) && strings.Contains(err.Error(), row.Says)
		b.report.require(holds, "refused, by %s: %.300v", row.field(), err)
		if err != nil {
			fmt.Fprintln(&said, err)
		}
	}
	for _, validation := range validations(spec) {
		b.report.require(strings.Contains(said.String(), validation), "a bad policy shows %.120q", validation)
	}
	good, err := good(b.Repository(), spec)
	if err != nil {
		return err
	}
	taken := 0
	var wrong []string
	for _, where := range slices.Sorted(maps.Keys(good)) {
		for _, object := range good[where] {
			if err := b.Try(ctx, object); err != nil {
				wrong = append(wrong, fmt.Sprintf("%s: %v", where, err))
			}
			taken++
		}
	}
	b.report.require(len(wrong) == 0 && taken > 100, "good objects of documentation, examples and tables that are taken: %d of %d", taken-len(wrong), taken)
	b.report.first(wrong)
	return nil
}

// good gives what must be taken, by file: what documentation and examples show, and the policies of tables, which compile.
func good(repository string, spec map[string]any) (map[string][]*unstructured.Unstructured, error) {
	all := map[string][]*unstructured.Unstructured{}
	for pattern, read := range map[string]func(string) ([]*unstructured.Unstructured, error){
		"docs/*.md":                  documented,
		"examples/*/*.yaml":          cluster.Read,
		"policies/testdata/*/*.yaml": func(text string) ([]*unstructured.Unstructured, error) { return tabled(text, spec) },
	} {
		files, err := filepath.Glob(filepath.Join(repository, pattern))
		if err != nil || len(files) == 0 {
			return nil, fmt.Errorf("%s: no files: %w", pattern, err)
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				return nil, err
			}
			if all[file], err = read(string(text)); err != nil {
				return nil, fmt.Errorf("%s: %w", file, err)
			}
		}
	}
	return all, nil
}

// documented gives the objects that a page shows.
func documented(page string) ([]*unstructured.Unstructured, error) {
	var all []*unstructured.Unstructured
	for _, block := range strings.Split(page, "```yaml\n")[1:] {
		text, _, _ := strings.Cut(block, "```")
		if !strings.HasPrefix(text, "apiVersion:") {
			continue // no object: a table of attacks
		}
		objects, err := cluster.Read(text)
		if err != nil {
			return nil, err
		}
		all = append(all, objects...)
	}
	return all, nil
}

// specOf gives the schema of the spec.
func specOf(crd *unstructured.Unstructured) (map[string]any, error) {
	versions, _, _ := unstructured.NestedSlice(crd.Object, "spec", "versions")
	if len(versions) != 1 {
		return nil, fmt.Errorf("%d versions of the CRD", len(versions))
	}
	version, _ := versions[0].(map[string]any)
	spec, there, err := unstructured.NestedMap(version, "schema", "openAPIV3Schema", "properties", "spec")
	if err != nil || !there {
		return nil, fmt.Errorf("the CRD has no schema of spec: %w", err)
	}
	return spec, nil
}

// validations gives every rule, by its message, and every pattern of a schema, each once.
func validations(schema map[string]any) []string {
	found := map[string]bool{}
	var walk func(any)
	walk = func(value any) {
		switch value := value.(type) {
		case []any:
			for _, one := range value {
				walk(one)
			}
		case map[string]any:
			if _, is := value["rule"].(string); is {
				found[value["message"].(string)] = true
			}
			if pattern, is := value["pattern"].(string); is {
				found[pattern] = true
			}
			for _, one := range value {
				walk(one)
			}
		}
	}
	walk(schema)
	return slices.Sorted(maps.Keys(found))
}

// policyOf is a SecurityPolicy that says this.
func policyOf(spec map[string]any) *unstructured.Unstructured {
	spec = maps.Clone(spec)
	if spec["targetRef"] == nil && spec["targetRefs"] == nil {
		spec["targetRef"] = map[string]any{"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "edge"}
	}
	o := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "fairway.dev/v1alpha1", "kind": "SecurityPolicy", "spec": spec}}
	o.SetName("it")
	return o.DeepCopy()
}
