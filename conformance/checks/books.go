package main

import (
	"context"
	"errors"
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

const (
	bookNamespace = "books"
	// The block about the limit, and how long a new leader learns of limits.
	limited  = 4
	learning = 150 * time.Second
)

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
	// 300 requests take 3 s at least, and on a busy machine a few more.
	func(s said) error {
		ok := s["200 books/details"]
		return want(ok >= 40 && ok <= 200 && s["429 rate_limited"] == 300-ok, s)
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
		what := strings.SplitN(block[1], "\n", 2)[0]
		err := b.follow(ctx, what, block[1], story[i])
		if errors.Is(err, errCommand) {
			return err
		}
		// A controller that has just taken over learns what is leased, and leases little meanwhile.
		for err != nil && i == limited && time.Since(began) < learning {
			err = b.follow(ctx, what, block[1], story[i])
		}
		b.report.figure("%.1f s: %s", time.Since(began).Seconds(), what)
		b.report.require(err == nil, "block %d of the guide says what the guide says%s", i+1, because(err))
	}
	return nil
}

// errCommand: it could not be done at all.
var errCommand = errors.New("a command failed")

// follow runs a block of commands, and judges what it says.
func (b *bench) follow(ctx context.Context, what, block string, judge func(said) error) error {
	out, err := b.Testbed(ctx, "run", "bash", "-euo", "pipefail", "-c", "cd '"+b.Repository()+"'\n"+block)
	if err != nil {
		return fmt.Errorf("%s: %w: %w", what, errCommand, err)
	}
	if judge == nil {
		return nil
	}
	return judge(read(out))
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
