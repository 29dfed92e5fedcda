package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// image says what an image name stands for on this machine. Nothing is ever pulled.
type image struct {
	// Match is a repository, or the end of one after a slash, without registry, tag and digest: "coredns/coredns".
	Match string `json:"match"`
	// Cmd is the entry point; args of the pod follow.
	Cmd []string `json:"cmd"`
	Env []string `json:"env"`
	// Path is a directory of this machine, seen as /usr/local/bin.
	Path string `json:"path"`
	// Root are the paths of this machine that the container sees; none: all of them.
	Root []string `json:"root"`
	// User is UID[:GID], as in a Dockerfile; empty: 0.
	User string `json:"user"`
}

func loadImages(file string) ([]image, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var images []image
	if err := json.Unmarshal(b, &images); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	for _, i := range images {
		if i.Match == "" || len(i.Cmd) == 0 {
			return nil, fmt.Errorf("%s: an entry without match or cmd", file)
		}
		if _, _, err := i.user(); err != nil {
			return nil, fmt.Errorf("%s: %s: %w", file, i.Match, err)
		}
	}
	return images, nil
}

// findImage gives what a name stands for; of several that match, the longest.
func findImage(images []image, name string) (*image, error) {
	repo := repository(name)
	var best *image
	for i := range images {
		m := images[i].Match
		if (repo == m || strings.HasSuffix(repo, "/"+m)) && (best == nil || len(m) > len(best.Match)) {
			best = &images[i]
		}
	}
	if best == nil {
		return nil, fmt.Errorf("image %q: the testbed has no program for it; add one to images.json", name)
	}
	if best.Path == "" {
		return best, nil
	}
	program := filepath.Join(best.Path, filepath.Base(best.Cmd[0]))
	if _, err := os.Stat(program); err != nil {
		return nil, fmt.Errorf("image %q: %s is missing, build it first", name, program)
	}
	return best, nil
}

// repository takes tag and digest off an image's name.
func repository(name string) string {
	name, _, _ = strings.Cut(name, "@")
	if i := strings.LastIndexByte(name, ':'); i > strings.LastIndexByte(name, '/') {
		name = name[:i]
	}
	return name
}

// user gives the image's numeric user and group.
func (i *image) user() (uid, gid int64, err error) {
	if i.User == "" {
		return 0, 0, nil
	}
	u, g, hasGroup := strings.Cut(i.User, ":")
	if uid, err = strconv.ParseInt(u, 10, 32); err == nil && hasGroup {
		gid, err = strconv.ParseInt(g, 10, 32)
	}
	return uid, gid, err
}
