// Package results reads what a test binary that runs with -test.v=test2json
// writes, and how it ended.
package results

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Outcome of a test.
type Outcome string

// A test that has begun and not ended is Unfinished.
const (
	Pass       Outcome = "PASS"
	Fail       Outcome = "FAIL"
	Skip       Outcome = "SKIP"
	Unfinished Outcome = "unfinished"
)

// Test is one test or subtest, with what it logged and its subtests in the
// order of their beginning.
type Test struct {
	Name    string // without the names of those above: "b" of "TestA/b"
	Outcome Outcome
	Elapsed time.Duration
	Output  []string // lines
	Subs    []*Test
}

// Report is one run of a test binary.
type Report struct {
	Tests []*Test
	// Rest is what no test printed, such as a panic's stack.
	Rest []string
	// Ended says whether the line of EndLine came; ExitCode is what it said.
	Ended    bool
	ExitCode int
}

const endMark = "weir-vm: the tests ended with "

// EndLine is the last line of a complete stream.
func EndLine(exitCode int) string { return endMark + strconv.Itoa(exitCode) + "\n" }

// mark precedes each line that the testing package itself writes.
const mark = "\x16"

// Parse reads a whole stream, or as much as there is of one.
func Parse(stream []byte) Report {
	p := parser{tests: map[string]*Test{}}
	for line := range bytes.Lines(stream) {
		p.line(strings.TrimRight(string(line), "\r\n"))
	}
	return p.report
}

type parser struct {
	report  Report
	tests   map[string]*Test // by full name
	current *Test            // whom unmarked lines belong to
}

func (p *parser) line(line string) {
	if text, ok := strings.CutPrefix(line, endMark); ok {
		code, err := strconv.Atoi(text)
		p.report.Ended, p.report.ExitCode = err == nil, code
		return
	}
	// A test that prints no newline has the mark at the end of its line.
	text, marked, ok := strings.Cut(line, mark)
	if !ok {
		p.print(line)
		return
	}
	if strings.TrimSpace(text) != "" {
		p.print(text)
	}
	p.event(marked)
}

func (p *parser) print(line string) {
	if p.current != nil {
		p.current.Output = append(p.current.Output, line)
		return
	}
	p.report.Rest = append(p.report.Rest, line)
}

// event takes a line of the testing package: "=== RUN   TestA/b" or
// "--- PASS: TestA/b (0.12s)".
func (p *parser) event(line string) {
	fields := strings.Fields(line)
	if len(fields) < 2 {
		return
	}
	switch fields[0] {
	case "===":
		p.turn(fields)
	case "---":
		p.end(fields)
	}
}

// turn takes a "===" line, which says whose output follows.
func (p *parser) turn(fields []string) {
	if len(fields) < 3 { // "=== NAME" alone: nobody's
		p.current = nil
		return
	}
	switch fields[1] {
	case "RUN", "CONT", "NAME", "PAUSE":
		p.current = p.test(fields[2])
	}
}

func (p *parser) end(fields []string) {
	if len(fields) < 3 {
		return
	}
	t := p.test(fields[2])
	t.Outcome = Outcome(strings.TrimSuffix(fields[1], ":"))
	if len(fields) > 3 {
		// An odd duration is no reason to lose the outcome.
		t.Elapsed, _ = time.ParseDuration(strings.Trim(fields[3], "()"))
	}
	p.current = t
}

// test finds or makes a test, among the subtests of the one that its name
// begins with: names may have slashes of their own, and a test begins before
// its subtests do.
func (p *parser) test(full string) *Test {
	if t := p.tests[full]; t != nil {
		return t
	}
	siblings, name := &p.report.Tests, full
	for i := len(full) - 1; i > 0; i-- {
		if above := p.tests[full[:i]]; full[i] == '/' && above != nil {
			siblings, name = &above.Subs, full[i+1:]
			break
		}
	}
	t := &Test{Name: name, Outcome: Unfinished}
	*siblings = append(*siblings, t)
	p.tests[full] = t
	return t
}

// Err says why a run did not succeed, beside the outcomes of its tests: it did
// not end, ended with an error that no test shows, or ran nothing.
func (r Report) Err() error {
	failed := slices.ContainsFunc(r.Tests, func(t *Test) bool { return t.Outcome == Fail })
	switch {
	case !r.Ended:
		return fmt.Errorf("the tests did not end")
	case r.ExitCode != 0 && !failed:
		return fmt.Errorf("the tests ended with status %d and no test failed", r.ExitCode)
	case len(r.Tests) == 0:
		return fmt.Errorf("no test was run")
	}
	return nil
}
