package lb_test

import (
	"fmt"
	"io/fs"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// anything stands for every import but weir/bpf, which is the data plane's own.
const anything = "*"

// rule says which packages of this module a tree of packages may import, and
// whether only the standard library besides.
type rule struct {
	imports []string
	stdOnly bool
}

// rules holds the directions of imports by tree; the longest that matches
// counts. A package below a tree may import the others of its tree.
var rules = map[string]rule{
	"weir/bpf":           {},
	"weir/loader/lb":     {stdOnly: true},
	"weir/loader/table":  {imports: []string{"weir/loader/lb"}, stdOnly: true},
	"weir/loader/weight": {imports: []string{"weir/loader/lb"}, stdOnly: true},
	"weir/loader/weight/lab": {
		imports: []string{"weir/loader/lb", "weir/loader/table", "weir/loader/weight"}, stdOnly: true,
	},
	"weir/loader/config":    {imports: []string{"weir/loader/lb", "weir/loader/table"}},
	"weir/loader/pcapng":    {stdOnly: true},
	"weir/loader/nexthop":   {imports: []string{"weir/loader/lb"}},
	"weir/loader/health":    {imports: []string{"weir/loader/lb"}},
	"weir/loader/testpeer":  {stdOnly: true},
	"weir/loader/nic":       {},
	"weir/loader/netlab":    {imports: []string{"weir/loader/lb", "weir/loader/nic"}},
	"weir/loader/dataplane": {imports: []string{"weir/bpf", "weir/loader/lb", "weir/loader/table"}},
	"weir/loader/dataplane/l4bench": {imports: []string{
		"weir/bpf", "weir/bpf/bench", "weir/loader/dataplane", "weir/loader/lb", "weir/loader/netlab", "weir/loader/table",
	}},
	"weir/loader/agents": {imports: []string{"weir/agent/report", "weir/loader/lb", "weir/loader/weight"}},
	"weir/loader/control": {imports: []string{
		"weir/loader/lb", "weir/loader/config", "weir/loader/table", "weir/loader/agents", "weir/loader/health", "weir/loader/weight",
	}},
	"weir/loader/api":        {imports: []string{"weir/loader/unixsocket", "weir/loader/lb", "weir/loader/control", "weir/loader/agents", "weir/loader/health", "weir/loader/weight"}},
	"weir/loader/api/client": {imports: []string{"weir/loader/lb", "weir/loader/api/wire"}},
	"weir/loader/api/wire":   {imports: []string{"weir/loader/lb"}, stdOnly: true},
	"weir/agent":             {imports: []string{"weir/bpf/decap", "weir/loader/lb", "weir/loader/unixsocket"}},
	"weir/loader/unixsocket": {},
	"weir/agent/report":      {stdOnly: true},
	"weir/loader/doctor":     {imports: []string{"weir/loader/lb", "weir/loader/config", "weir/loader/api/wire"}},
	"weir/loader/doctor/host": {imports: []string{
		"weir/loader/lb", "weir/loader/doctor", "weir/loader/dataplane", "weir/loader/nexthop", "weir/loader/nic",
	}},
	"weir/l7/exchange": {stdOnly: true},
	"weir/l7":          {imports: []string{"weir/loader/lb", "weir/loader/health", "weir/loader/weight", "weir/loader/table"}},
	"weir/cmd":         {imports: []string{anything}},
	"weir/vm-tests":    {imports: []string{anything}},
}

func TestImportsPointOneWay(t *testing.T) {
	openDirectories(t, "../..")
	cmd := exec.Command("go", "list", "-f", `{{.ImportPath}} {{join .Imports " "}}`, "./...")
	cmd.Dir = "../.."
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("list the module's packages: %v\n%s", err, out)
	}
	seen := map[string]bool{}
	for line := range strings.Lines(string(out)) {
		pkg, imports, _ := strings.Cut(strings.TrimSpace(line), " ")
		seen[pkg] = true
		if wrong := violation(pkg, strings.Fields(imports)); wrong != "" {
			t.Error(wrong)
		}
	}
	for _, must := range []string{"weir/bpf", "weir/loader/lb", "weir/loader/dataplane"} {
		if !seen[must] {
			t.Errorf("%s is not among the packages listed", must)
		}
	}
}

// openDirectories makes a cached result of the test depend on all sources: the
// cache knows what a test opens, and not what go list opens for it.
func openDirectories(t *testing.T, root string) {
	t.Helper()
	err := filepath.WalkDir(root, func(_ string, d fs.DirEntry, err error) error {
		if err == nil && d.Name() == ".git" {
			return fs.SkipDir
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// violation says what is wrong with a package's imports, or nothing.
func violation(pkg string, imports []string) string {
	tree := ""
	for t := range rules {
		if within(pkg, t) && len(t) > len(tree) {
			tree = t
		}
	}
	if tree == "" {
		return fmt.Sprintf("%s has no rule: say here what it may import", pkg)
	}
	for _, imported := range imports {
		if !allowed(rules[tree], tree, imported) {
			return fmt.Sprintf("%s must not import %s", pkg, imported)
		}
	}
	return ""
}

func allowed(r rule, tree, imported string) bool {
	if !within(imported, "weir") {
		host, _, _ := strings.Cut(imported, "/")
		return !r.stdOnly || !strings.Contains(host, ".")
	}
	if within(imported, tree) || slices.Contains(r.imports, imported) {
		return true
	}
	return imported != "weir/bpf" && slices.Contains(r.imports, anything)
}

func within(pkg, tree string) bool {
	return pkg == tree || strings.HasPrefix(pkg, tree+"/")
}

func TestViolation(t *testing.T) {
	for _, c := range []struct {
		pkg      string
		imports  string
		refusing string
	}{
		{"weir/loader/lb", "fmt net/netip", ""},
		{"weir/loader/lb", "github.com/cilium/ebpf", "github.com/cilium/ebpf"},
		{"weir/loader/table", "weir/loader/lb sort", ""},
		{"weir/loader/table", "weir/loader/config", "weir/loader/config"},
		{"weir/loader/dataplane", "weir/bpf github.com/cilium/ebpf", ""},
		{"weir/loader/dataplane/l4bench", "weir/loader/dataplane weir/bpf", ""},
		{"weir/loader/control", "weir/loader/dataplane", "weir/loader/dataplane"},
		{"weir/loader/control", "weir/bpf", "weir/bpf"},
		{"weir/loader/api/client", "weir/loader/control", "weir/loader/control"},
		{"weir/cmd/weir", "weir/loader/dataplane weir/loader/control", ""},
		{"weir/cmd/weir", "weir/bpf", "weir/bpf"},
		{"weir/elsewhere", "fmt", "no rule"},
	} {
		got := violation(c.pkg, strings.Fields(c.imports))
		if (got == "") != (c.refusing == "") || !strings.Contains(got, c.refusing) {
			t.Errorf("%s imports %s: %q, want it to refuse %q", c.pkg, c.imports, got, c.refusing)
		}
	}
}
