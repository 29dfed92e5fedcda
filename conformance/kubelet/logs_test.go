package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestEveryLineIsStamped(t *testing.T) {
	long := strings.Repeat("x", 200<<10)
	out := &bytes.Buffer{}
	if err := stamp(strings.NewReader("one\n\n"+long+"\nlast"), out); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(out.String(), "\n")
	for i, want := range []string{"one", "", long, "last"} {
		when, text, _ := strings.Cut(lines[i], " ")
		if _, err := time.Parse(time.RFC3339Nano, when); err != nil || text != want {
			t.Errorf("line %d: %.60q", i, lines[i])
		}
	}
	if len(lines) != 5 || lines[4] != "" {
		t.Errorf("%d lines, and the last one must be ended", len(lines))
	}
}

// logOf writes a log of three lines, a minute apart, the last one now.
func logOf(t *testing.T) (string, time.Time) {
	t.Helper()
	file, now := filepath.Join(t.TempDir(), "0.log"), time.Now().UTC()
	var b strings.Builder
	for i, text := range []string{"one", "two", "three"} {
		b.WriteString(now.Add(time.Duration(i-2)*time.Minute).Format(time.RFC3339Nano) + " " + text + "\n")
	}
	if err := os.WriteFile(file, []byte(b.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	return file, now
}

func TestLogsAreCutAsAsked(t *testing.T) {
	file, now := logOf(t)
	for name, c := range map[string]struct {
		query logQuery
		want  string
	}{
		"all":           {logQuery{tail: -1}, "one\ntwo\nthree\n"},
		"since":         {logQuery{tail: -1, since: now.Add(-90 * time.Second)}, "two\nthree\n"},
		"last":          {logQuery{tail: 1}, "three\n"},
		"last of more":  {logQuery{tail: 10}, "one\ntwo\nthree\n"},
		"none":          {logQuery{tail: 0}, ""},
		"bytes":         {logQuery{tail: -1, limit: 6}, "one\ntw"},
		"last of since": {logQuery{tail: 2, since: now.Add(-time.Second)}, "three\n"},
	} {
		out := &strings.Builder{}
		if err := copyLog(context.Background(), out, func() {}, file, c.query, nil); err != nil || out.String() != c.want {
			t.Errorf("%s: %q, %v", name, out.String(), err)
		}
	}
}

func TestFollowingEndsWithTheContainerAndMissesNothing(t *testing.T) {
	file, now := logOf(t)
	ended := make(chan struct{})
	flushed := make(chan struct{})
	go func() {
		<-flushed // it has read all there was
		f, err := os.OpenFile(file, os.O_APPEND|os.O_WRONLY, 0)
		if err == nil {
			_, err = f.WriteString(now.Format(time.RFC3339Nano) + " four\n")
			f.Close()
		}
		if err != nil {
			t.Error(err)
		}
		close(ended)
	}()
	out, first := &strings.Builder{}, true
	flush := func() {
		if first {
			first = false
			close(flushed)
		}
	}
	if err := copyLog(context.Background(), out, flush, file, logQuery{tail: 1, follow: true}, ended); err != nil {
		t.Fatal(err)
	}
	if out.String() != "three\nfour\n" {
		t.Errorf("%q", out.String())
	}
}
