package dataplane

import (
	"os"
	"strings"
	"testing"

	"weir/bpf"
)

// The operator's guide says about each reason what to do.
func TestOperationsExplainEveryReason(t *testing.T) {
	b, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	sections := map[string]string{}
	for section := range strings.SplitSeq(string(b), "\n### ") {
		title, text, _ := strings.Cut(section, "\n")
		sections[title] = text
	}
	titles := map[string]string{"drop": "Drops", "pass": "Passed to this host's own stack", "sent": "Answered by weir itself"}
	for reason, name := range reasonNames {
		title := titles[verdictOf(bpf.WeirReason(reason))]
		if !strings.Contains(sections[title], "\n| `"+name+"` |") {
			t.Errorf("docs/operations.md, %q, has no row for %s", title, name)
		}
	}
}
