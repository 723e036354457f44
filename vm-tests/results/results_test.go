package results

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func show(t *testing.T, r Report) string {
	t.Helper()
	b, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestParse(t *testing.T) {
	got := Parse([]byte(strings.Join([]string{
		"\x16=== RUN   TestA",
		"    a_test.go:1: hello\r",
		"\x16=== RUN   TestA/b",
		"no newline\x16=== NAME  TestA/b",
		"    a_test.go:2: of b",
		"\x16--- FAIL: TestA/b (1.50s)",
		"\x16=== NAME  TestA",
		"    a_test.go:3: after b",
		"\x16--- FAIL: TestA (2.00s)",
		"\x16=== NAME  ",
		"FAIL",
		"\x16=== RUN   TestC",
		"\x16--- SKIP: TestC (0.00s)",
		"    c_test.go:1: why",
		"\x16=== RUN   TestD",
		"\x16=== RUN   TestD/192.0.2.1:80/tcp",
		"\x16--- PASS: TestD/192.0.2.1:80/tcp (0.00s)",
		"\x16=== RUN   TestD/192.0.2.1:80/tcp/c",
		EndLine(1),
	}, "\n")))
	want := Report{
		Tests: []*Test{
			{Name: "TestA", Outcome: Fail, Elapsed: 2 * time.Second, Output: []string{"    a_test.go:1: hello", "    a_test.go:3: after b"}, Subs: []*Test{
				{Name: "b", Outcome: Fail, Elapsed: 1500 * time.Millisecond, Output: []string{"no newline", "    a_test.go:2: of b"}},
			}},
			{Name: "TestC", Outcome: Skip, Output: []string{"    c_test.go:1: why"}},
			{Name: "TestD", Outcome: Unfinished, Subs: []*Test{
				{Name: "192.0.2.1:80/tcp", Outcome: Pass, Subs: []*Test{{Name: "c", Outcome: Unfinished}}},
			}},
		},
		Rest: []string{"FAIL"}, Ended: true, ExitCode: 1,
	}
	if show(t, got) != show(t, want) {
		t.Errorf("got  %s\nwant %s", show(t, got), show(t, want))
	}
}

func TestErr(t *testing.T) {
	passed := "\x16=== RUN   TestA\n\x16--- PASS: TestA (0.00s)\n"
	failed := "\x16=== RUN   TestA\n\x16--- FAIL: TestA (0.00s)\n"
	for _, c := range []struct{ stream, want string }{
		{passed + EndLine(0), ""},
		{failed + EndLine(1), ""}, // the test itself says so
		{passed, "did not end"},
		{"", "did not end"},
		{passed + EndLine(3), "status 3"},
		{EndLine(0), "no test was run"},
		{passed + strings.TrimSuffix(EndLine(0), "0\n"), "did not end"},
	} {
		err := Parse([]byte(c.stream)).Err()
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: %v, want %q", c.stream, err, c.want)
		}
	}
}

// A real test binary of this Go version must be understood.
func TestParseRealTests(t *testing.T) {
	dir := t.TempDir()
	for name, content := range map[string]string{
		"go.mod": "module m\n\ngo 1.24\n",
		"a_test.go": `package m
import "testing"
func TestA(t *testing.T) {
	t.Log("before")
	t.Run("b c", func(t *testing.T) { t.Error("wrong") })
	t.Run("d", func(t *testing.T) { t.Skip("why") })
}
func TestP(t *testing.T) { panic("oops") }
`,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	binary := filepath.Join(dir, "m.test")
	build := exec.Command("go", "test", "-c", "-o", binary, ".")
	build.Dir = dir
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	out, err := exec.Command(binary, "-test.v=test2json").CombinedOutput()
	if err == nil {
		t.Fatal("the failing tests pass")
	}
	r := Parse(out)
	if len(r.Tests) != 2 || len(r.Tests[0].Subs) != 2 {
		t.Fatalf("%s from\n%q", show(t, r), out)
	}
	a, b, d, p := r.Tests[0], r.Tests[0].Subs[0], r.Tests[0].Subs[1], r.Tests[1]
	if a.Outcome != Fail || b.Outcome != Fail || d.Outcome != Skip || p.Outcome != Fail || b.Name != "b_c" {
		t.Errorf("outcomes %s from\n%q", show(t, r), out)
	}
	for _, c := range []struct {
		t    *Test
		text string
	}{{a, "before"}, {b, "wrong"}, {d, "why"}, {p, "panic: oops"}} {
		if !strings.Contains(strings.Join(c.t.Output, "\n"), c.text) {
			t.Errorf("%s printed %q, want %q in it; all: %q", c.t.Name, c.t.Output, c.text, out)
		}
	}
}
