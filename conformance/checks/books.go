package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// tale is a part of it.
type tale struct {
	name, what string
	tell       func(ctx context.Context, c *bench) error
}

var allTales = []tale{
	{"walkthrough", "examples/books/README.md, command by command", walkthrough},
	{"identity", "who callers are, and who they are not", identity},
	{"lock", "pods that nobody reaches around the waypoint", locked},
}

func taleNames() []string {
	var names []string
	for _, one := range allTales {
		names = append(names, one.name)
	}
	return names
}

const bookNamespace = "books"

// books follows the sample's own guide, and then asks as those who should not get in.
func books(ctx context.Context, b *bench, parts []string) error {
	if err := b.Gone(ctx, bookNamespace); err != nil {
		return err
	}
	b.made = append(b.made, bookNamespace)
	for _, one := range allTales {
		if len(parts) > 0 && !slices.Contains(parts, one.name) {
			continue
		}
		b.report.figure("%s: %s", one.name, one.what)
		if err := one.tell(ctx, b); err != nil {
			return fmt.Errorf("%s: %w", one.name, err)
		}
	}
	return nil
}

// said is what a block of commands printed: answers by who gave them.
type said map[string]int

func (s said) of(text string) int {
	sum := 0
	for what, count := range s {
		if strings.HasPrefix(what, text) {
			sum += count
		}
	}
	return sum
}

// story says what the n-th block of commands has to print; nil: anything.
var story = []func(s said) error{
	func(s said) error {
		return want(s.of("200 books/reviews-v1") > 20 && s.of("200 books/reviews-v2, 200 books/ratings") > 20 && s["200 books/ratings"] == 10, s)
	},
	nil,
	// Three standard deviations around 20 of 200.
	func(s said) error {
		v2 := s.of("200 books/reviews-v2, 200 books/ratings")
		return want(s.of("200 books/reviews-v1")+v2 == 200 && v2 >= 7 && v2 <= 33, s)
	},
	func(s said) error {
		return want(s["403 authz_default"] == 10 && s["200 books/ratings"] == 10 && len(s) == 2, s)
	},
	// What comes back in the seconds of the run is let in, too; a share that has to move first may leave some over.
	func(s said) error {
		ok := s["200 books/details"]
		return want(ok >= 75 && ok <= 115 && s["429 rate_limited"] == 300-ok, s)
	},
	func(s said) error { return want(s["200 books/ratings"] == 10, s) },
}

func want(holds bool, s said) error {
	if holds {
		return nil
	}
	return fmt.Errorf("it says %v", s)
}

var (
	commands = regexp.MustCompile("(?s)```sh\n(.*?)```")
	answers  = regexp.MustCompile(`(?m)^ +(\d+)  (.*)$`)
)

func walkthrough(ctx context.Context, b *bench) error {
	guide, err := os.ReadFile(filepath.Join(b.Repository(), "examples/books/README.md"))
	if err != nil {
		return err
	}
	blocks := commands.FindAllStringSubmatch(string(guide), -1)
	if len(blocks) != len(story) {
		return fmt.Errorf("the guide has %d blocks of commands, and %d are known", len(blocks), len(story))
	}
	for i, block := range blocks {
		began := time.Now()
		out, err := b.Testbed(ctx, "run", "bash", "-euo", "pipefail", "-c", "cd '"+b.Repository()+"'\n"+block[1])
		what := strings.SplitN(block[1], "\n", 2)[0]
		if err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
		if story[i] != nil {
			err = story[i](read(out))
		}
		b.report.figure("%.1f s: %s", time.Since(began).Seconds(), what)
		b.report.require(err == nil, "block %d of the guide says what the guide says%s", i+1, because(err))
	}
	return nil
}

func read(out string) said {
	s := said{}
	for _, line := range answers.FindAllStringSubmatch(out, -1) {
		count, err := strconv.Atoi(line[1])
		if err == nil {
			s[line[2]] += count
		}
	}
	return s
}
