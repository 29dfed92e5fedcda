package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestImagesMatchWhateverRegistryTagAndDigest(t *testing.T) {
	images := []image{{Match: "fairway", Cmd: []string{"a"}}, {Match: "fairway/gateway", Cmd: []string{"b"}}, {Match: "coredns/coredns", Cmd: []string{"c"}}}
	for name, want := range map[string]string{
		"fairway":                               "a",
		"fairway:1.0":                           "a",
		"localhost:5000/fairway":                "a",
		"ghcr.io/x/fairway/gateway:v1":          "b",
		"fairway/gateway@sha256:0123":           "b",
		"registry.k8s.io/coredns/coredns:v1.12": "c",
	} {
		got, err := findImage(images, name)
		if err != nil || got.Cmd[0] != want {
			t.Errorf("%s: %+v, %v; want %s", name, got, err, want)
		}
	}
	for _, name := range []string{"notfairway", "fairway/other", "coredns", ""} {
		if got, err := findImage(images, name); err == nil {
			t.Errorf("%s is taken for %s", name, got.Match)
		}
	}
}

func TestImageWithoutItsProgramSaysToBuildIt(t *testing.T) {
	dir := t.TempDir()
	images := []image{{Match: "fairway", Cmd: []string{"/usr/local/bin/fairway"}, Path: dir}}
	if _, err := findImage(images, "fairway"); err == nil || !strings.Contains(err.Error(), filepath.Join(dir, "fairway")+" is missing, build it") {
		t.Errorf("%v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "fairway"), nil, 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := findImage(images, "fairway"); err != nil {
		t.Error(err)
	}
}

func TestBrokenImageFilesAreRefused(t *testing.T) {
	file := filepath.Join(t.TempDir(), "images.json")
	for _, content := range []string{"{", `[{"cmd":["x"]}]`, `[{"match":"x"}]`, `[{"match":"x","cmd":["x"],"user":"nobody"}]`} {
		if err := os.WriteFile(file, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := loadImages(file); err == nil {
			t.Errorf("%s was taken", content)
		}
	}
}

func TestTheTestbedsOwnImagesAreInOrder(t *testing.T) {
	images, err := loadImages("../images.json")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"registry.example/gateway-api/echo-basic:v1", "fairway/fairway", "fairway/gateway:dev", "fairway/waypoint", "fairway"} {
		// Their directories are placeholders until `up`.
		if _, err := findImage(images, name); err == nil || !strings.Contains(err.Error(), "is missing") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
