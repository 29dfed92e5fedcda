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

// schemaTables are what nobody can follow of a kind, a row for each validation of its CRD.
var (
	//go:embed schema.yaml
	securityTable string
	//go:embed schema-traffic.yaml
	trafficTable string
	//go:embed schema-rollout.yaml
	rolloutTable string

	schemaTables = []struct{ kind, crd, table string }{
		{"SecurityPolicy", "securitypolicies.fairway.dev", securityTable},
		{"BackendTrafficPolicy", "backendtrafficpolicies.fairway.dev", trafficTable},
		{"Rollout", "rollouts.fairway.dev", rolloutTable},
	}
)

// schema asks the API server what it takes, and keeps nothing: of bad objects it must refuse each, by the name of the field, and
// no validation may be there that no bad object shows; of what is good it must take everything.
func schema(ctx context.Context, b *bench, _ []string) error {
	specs := map[string]map[string]any{}
	for _, one := range schemaTables {
		crd, err := b.Get(ctx, "CustomResourceDefinition", "", one.crd)
		if err != nil {
			return err
		}
		if specs[one.kind], err = specOf(crd); err != nil {
			return err
		}
		if err := mistakes(ctx, b, one.kind, one.table, specs[one.kind]); err != nil {
			return fmt.Errorf("%s: %w", one.kind, err)
		}
	}
	return takesGood(ctx, b, specs["SecurityPolicy"])
}

// mistakes has each row of a table refused.
func mistakes(ctx context.Context, b *bench, kind, table string, spec map[string]any) error {
	rows, err := readRows(table)
	if err != nil {
		return err
	}
	var said strings.Builder
	for _, row := range rows {
		err := b.Try(ctx, row.object(kind))
		// Of two entries with one key there is no object to validate: the apply itself fails.
		isRefused := apierrors.IsInvalid(err) || err != nil && strings.Contains(err.Error(), "duplicate entries")
		holds := isRefused && strings.Contains(err.Error(), row.field()) && strings.Contains(err.Error(), row.Says)
		b.report.require(holds, "refused, by %s of a %s: %.300v", row.field(), kind, err)
		if err != nil {
			fmt.Fprintln(&said, err)
		}
	}
	for _, validation := range validations(spec) {
		b.report.require(strings.Contains(said.String(), validation), "a bad %s shows %.120q", kind, validation)
	}
	return nil
}

// takesGood: what is good is taken.
func takesGood(ctx context.Context, b *bench, spec map[string]any) error {
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

// right is what is put beside a mistake: a target, and what else a kind cannot be without.
var right = map[string]map[string]any{
	"Rollout": {
		"targetRef": map[string]any{"group": "gateway.networking.k8s.io", "kind": "HTTPRoute", "name": "it"},
		"stable":    map[string]any{"name": "v1", "port": int64(80)},
		"canary":    map[string]any{"name": "v2", "port": int64(80)},
		"steps":     []any{map[string]any{"weight": int64(5)}},
	},
}

// objectOf is an object of ours that says this.
func objectOf(kind string, spec map[string]any) *unstructured.Unstructured {
	spec = maps.Clone(spec)
	for field, value := range right[kind] {
		if spec[field] == nil {
			spec[field] = value
		}
	}
	if spec["targetRef"] == nil && spec["targetRefs"] == nil {
		spec["targetRef"] = map[string]any{"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "edge"}
	}
	o := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "fairway.dev/v1alpha1", "kind": kind, "spec": spec}}
	o.SetName("it")
	return o.DeepCopy()
}
