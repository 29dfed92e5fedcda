package process

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestMain(m *testing.M) {
	Main() // tests start containers: this program again
	os.Exit(m.Run())
}

// begin starts a container and gives its first process and what it will say.
func begin(t *testing.T, s *Spec) (*exec.Cmd, *os.File) {
	t.Helper()
	s.Root.Dir = t.TempDir()
	s.Hostname, s.Env = "box", append(s.Env, "PATH=/usr/bin:/bin")
	if s.Dir == "" {
		s.Dir = "/"
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd, err := Start(s, "", w)
	w.Close()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		r.Close()
	})
	return cmd, r
}

// output runs a container to its end.
func output(t *testing.T, s *Spec) string {
	t.Helper()
	_, r := begin(t, s)
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestProcessHasTheIdentityItWasGiven(t *testing.T) {
	got := output(t, &Spec{Argv: []string{"sh", "-c", "id -u; id -g; id -G; hostname; grep -E '^(CapEff|CapBnd|NoNewPrivs)' /proc/self/status"},
		Identity: Identity{UID: 65532, GID: 65533, Groups: []uint32{7}, NoNewPrivileges: true}})
	want := "65532\n65533\n65533 7\nbox\nCapEff:\t0000000000000000\nCapBnd:\t0000000000000000\nNoNewPrivs:\t1\n"
	if got != want {
		t.Errorf("%s\nwant\n%s", got, want)
	}
}

func TestRootHasTheCapabilitiesItWasGivenAndNoOthers(t *testing.T) {
	got := output(t, &Spec{Argv: []string{"grep", "-E", "^Cap(Inh|Eff|Amb)", "/proc/self/status"}, Identity: Identity{Capabilities: []uintptr{10}}})
	if got != "CapInh:\t0000000000000000\nCapEff:\t0000000000000400\nCapAmb:\t0000000000000000\n" {
		t.Error(got)
	}
}

func TestMountsAreWhereTheyShouldBeAndTheMachineIsNotSeen(t *testing.T) {
	source := t.TempDir()
	if err := os.WriteFile(filepath.Join(source, "file"), []byte("seen\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	// /var/run leads to /run in most images, by an absolute link.
	got := output(t, &Spec{Mounts: []Mount{{source, "/var/run/deep/dir", true}, {filepath.Join(source, "file"), "/etc/one-file", true}},
		Dir:  "/made/here",
		Argv: []string{"sh", "-c", "cat /var/run/deep/dir/file /etc/one-file; pwd; ls -A /.machine 2>&1; echo x >/var/run/deep/dir/file; ls /proc | grep -c '^[0-9]'"}})
	if !strings.HasPrefix(got, "seen\nseen\n/made/here\n") || !strings.Contains(got, "/.machine': No such file") || !strings.Contains(got, "Read-only file system") {
		t.Error(got)
	}
	if b, err := os.ReadFile(filepath.Join(source, "file")); err != nil || string(b) != "seen\n" {
		t.Errorf("%q, %v", b, err)
	}
}

func TestEverythingEndsWithTheFirstProcess(t *testing.T) {
	cmd, r := begin(t, &Spec{Argv: []string{"sh", "-c", "setsid sleep 1000 & echo up; exec sleep 1000"}})
	if b := make([]byte, 3); true {
		if _, err := io.ReadFull(r, b); err != nil || string(b) != "up\n" {
			t.Fatalf("%q, %v", b, err)
		}
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := r.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(r); err != nil { // ends when nobody can write any more
		t.Errorf("something lives on: %v", err)
	}
}

func TestEnteredProcessIsInTheContainerAndTellsItsExitCode(t *testing.T) {
	cmd, _ := begin(t, &Spec{Argv: []string{"sleep", "1000"}})
	e, err := Enter(cmd.Process.Pid, &Spec{Dir: "/tmp", Argv: []string{"sh", "-c", "hostname; pwd; id -u; cat; cat /proc/1/comm; exit 5"}, Env: []string{"PATH=/bin:/usr/bin"}, Identity: Identity{UID: 3}})
	if err != nil {
		t.Fatal(err)
	}
	out := &bytes.Buffer{}
	e.Stdin, e.Stdout = strings.NewReader("said\n"), out
	var exit *exec.ExitError
	if err := e.Run(context.Background()); !errors.As(err, &exit) || exit.ExitCode() != 5 {
		t.Errorf("%v", err)
	}
	if out.String() != "box\n/tmp\n3\nsaid\nsleep\n" {
		t.Errorf("%q", out)
	}
}

func TestEnteredProcessEndsWithItsContext(t *testing.T) {
	cmd, _ := begin(t, &Spec{Argv: []string{"sleep", "1000"}})
	e, err := Enter(cmd.Process.Pid, &Spec{Dir: "/", Argv: []string{"sh", "-c", "echo up; sleep 1000"}, Env: []string{"PATH=/bin:/usr/bin"}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	r, w := io.Pipe()
	e.Stdout = w
	go func() {
		_, _ = io.ReadFull(r, make([]byte, 3))
		cancel()
		_, _ = io.Copy(io.Discard, r)
	}()
	if err := e.Run(ctx); err == nil { // returns only when nobody holds the output any more
		t.Error("ended well")
	}
}

func TestProgramThatIsNotThereIsSaidSo(t *testing.T) {
	_, err := Start(&Spec{Root: Root{Dir: t.TempDir()}, Dir: "/", Argv: []string{"no-such-program"}, Env: []string{"PATH=/bin"}}, "", os.Stderr)
	if !errors.Is(err, ErrNotStarted) || !strings.Contains(err.Error(), "executable file not found") {
		t.Errorf("%v", err)
	}
}

func TestProgramsAreFoundInTheirOwnPath(t *testing.T) {
	dir := t.TempDir()
	for name, mode := range map[string]os.FileMode{"yes": 0o755, "no": 0o644} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, mode); err != nil {
			t.Fatal(err)
		}
	}
	env := []string{"HOME=/", "PATH=/nowhere:" + dir}
	if got, err := find("yes", env); err != nil || got != filepath.Join(dir, "yes") {
		t.Errorf("%s, %v", got, err)
	}
	for _, name := range []string{"no", "absent"} {
		if got, err := find(name, env); err == nil {
			t.Errorf("%s: %s", name, got)
		}
	}
	if got, err := find("./as/is", nil); err != nil || got != "./as/is" {
		t.Errorf("%s, %v", got, err)
	}
}
