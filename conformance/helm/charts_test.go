// Package helm holds the charts of deploy/charts to what they promise, with Helm's own code: they are linted, with their
// default values they are what `fairway install` prints, and each value does what its comment says.
package helm

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"sort"
	"strings"
	"testing"

	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/engine"
	"helm.sh/helm/v3/pkg/lint"
	"helm.sh/helm/v3/pkg/lint/support"
	"sigs.k8s.io/yaml"
)

const (
	charts    = "../../deploy/charts"
	namespace = "fairway-system"
)

// render renders a chart; values are YAML.
func render(chart, values string) (string, error) {
	loaded, err := loader.Load(filepath.Join(charts, chart))
	if err != nil {
		return "", err
	}
	given, err := chartutil.ReadValues([]byte(values))
	if err != nil {
		return "", err
	}
	release := chartutil.ReleaseOptions{Name: "fairway", Namespace: namespace, Revision: 1, IsInstall: true}
	all, err := chartutil.ToRenderValues(loaded, given, release, chartutil.DefaultCapabilities)
	if err != nil {
		return "", err
	}
	files, err := engine.Render(loaded, all)
	if err != nil {
		return "", err
	}
	names := make([]string, 0, len(files))
	for name := range files {
		names = append(names, name)
	}
	sort.Strings(names)
	var text strings.Builder
	for _, name := range names {
		fmt.Fprintf(&text, "%s\n", files[name])
	}
	return text.String(), nil
}

// objects splits YAML into objects, by kind, namespace and name.
func objects(t *testing.T, text string) map[string]map[string]any {
	t.Helper()
	found := map[string]map[string]any{}
	for _, document := range strings.Split("\n"+text, "\n---\n") {
		var object map[string]any
		if err := yaml.Unmarshal([]byte(document), &object); err != nil {
			t.Fatalf("%v in\n%s", err, document)
		}
		if len(object) == 0 {
			continue
		}
		metadata, _ := object["metadata"].(map[string]any)
		key := fmt.Sprintf("%v %v/%v", object["kind"], metadata["namespace"], metadata["name"])
		if _, twice := found[key]; twice {
			t.Fatalf("%s is there twice", key)
		}
		found[key] = object
	}
	return found
}

func TestChartsAreLinted(t *testing.T) {
	for _, chart := range []string{"fairway", "fairway-crds"} {
		result := lint.All(filepath.Join(charts, chart), nil, namespace, true)
		for _, message := range result.Messages {
			// An icon is for catalogues.
			if message.Severity > support.InfoSev {
				t.Errorf("%s: %v", chart, message)
			}
		}
	}
}

func TestDefaultsAreWhatInstallPrints(t *testing.T) {
	printed, err := os.ReadFile("../../deploy/install.yaml")
	if err != nil {
		t.Fatal(err)
	}
	want := objects(t, string(printed))
	// The release's namespace is Helm's to make.
	delete(want, "Namespace <nil>/"+namespace)
	got := map[string]map[string]any{}
	for _, chart := range []string{"fairway", "fairway-crds"} {
		text, err := render(chart, "")
		if err != nil {
			t.Fatal(err)
		}
		for key, object := range objects(t, text) {
			got[key] = object
		}
	}
	if len(want) < 10 {
		t.Fatalf("only %d objects", len(want))
	}
	for key, object := range want {
		if !reflect.DeepEqual(object, got[key]) {
			t.Errorf("%s differs:\n%s\n%s", key, text(object), text(got[key]))
		}
		delete(got, key)
	}
	hooks := 0
	for key, object := range got {
		if isHook(object) {
			hooks++
			continue
		}
		t.Errorf("%s is in a chart only", key)
	}
	// The Job before a removal, with its account and its rights.
	if hooks != 4 {
		t.Errorf("%d hooks", hooks)
	}
}

// isHook: Helm runs it at some time, and it is not part of what is installed.
func isHook(object map[string]any) bool {
	metadata, _ := object["metadata"].(map[string]any)
	annotations, _ := metadata["annotations"].(map[string]any)
	_, is := annotations["helm.sh/hook"]
	return is
}

func text(object any) string {
	bytes, _ := yaml.Marshal(object)
	return string(bytes)
}

// TestEachValueDoesWhatItSays compares what a case's values change against the defaults; UPDATE_GOLDEN=1 writes it.
func TestEachValueDoesWhatItSays(t *testing.T) {
	cases, _ := filepath.Glob("testdata/*.values.yaml")
	if len(cases) < 8 {
		t.Fatalf("%d cases", len(cases))
	}
	plain, err := render("fairway", "")
	if err != nil {
		t.Fatal(err)
	}
	before := objects(t, plain)
	for _, file := range cases {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".values.yaml"), func(t *testing.T) {
			values, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			rendered, err := render("fairway", string(values))
			if err != nil {
				t.Fatal(err)
			}
			got := []byte(changed(before, objects(t, rendered)))
			golden := strings.Replace(file, ".values.yaml", ".out.yaml", 1)
			if os.Getenv("UPDATE_GOLDEN") != "" {
				if err := os.WriteFile(golden, got, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, _ := os.ReadFile(golden)
			if !bytes.Equal(got, want) {
				t.Errorf("UPDATE_GOLDEN=1 go test writes it; it is now\n%s", got)
			}
			if len(got) == 0 {
				t.Error("nothing changes")
			}
		})
	}
}

// changed lists objects that are gone, and those that differ, whole.
func changed(before, after map[string]map[string]any) string {
	keys := []string{}
	for key := range before {
		keys = append(keys, key)
	}
	for key := range after {
		if before[key] == nil {
			keys = append(keys, key)
		}
	}
	sort.Strings(keys)
	out := ""
	for _, key := range keys {
		if after[key] == nil {
			out += "# gone: " + key + "\n"
		} else if !reflect.DeepEqual(before[key], after[key]) {
			out += "---\n" + text(after[key])
		}
	}
	return out
}

func TestWrongValuesAreRefused(t *testing.T) {
	for _, values := range []string{
		"replicas: 0",
		"replicas: two",
		"replica: 2",
		"image: ''",
		"imagePullPolicy: Sometimes",
		"imagePullSecrets: [registry]",
		"authorityPeriod: 90d",
		"extraArgs: [trust-domain]",
		"resources: { request: {} }",
		"resources: { requests: { cpu: much } }",
		"podAnnotations: { a: 1 }",
		"tolerations: [{ key: a, operator: Is }]",
		"affinity: { node: {} }",
		"serviceAccount: { name: mine }",
		"gatewayClass: { enabled: yes please }",
		"gatewayClass: { parametersRef: { name: edge } }",
	} {
		if _, err := render("fairway", values); err == nil {
			t.Errorf("%s is taken", values)
		}
	}
}
