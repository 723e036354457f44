package config_test

import (
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"weir/agent/config"
	"weir/agent/report"
)

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestExample loads the file that is installed, and the same with all that is
// commented out in it.
func TestExample(t *testing.T) {
	text := read(t, "../../deploy/agent.yaml")
	got, err := load(t, text)
	if err != nil {
		t.Fatal(err)
	}
	want := config.Default()
	want.Metrics = []config.Metric{}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("deploy/agent.yaml is %+v, the defaults are %+v", got, want)
	}
	_, rest, _ := strings.Cut(text, "\nlisten") // after the comment at the top
	all := regexp.MustCompile(`(?m)^# ?`).ReplaceAllString("listen"+rest, "")
	if _, err := load(t, strings.Replace(all, "metrics: []", "metrics:", 1)); err != nil {
		t.Errorf("with what is commented out: %v", err)
	}
}

// TestDocs loads the reference's examples, and misses no key in it, nor in the
// installed file, nor a metric.
func TestDocs(t *testing.T) {
	docs, example := read(t, "../../docs/agent.md"), read(t, "../../deploy/agent.yaml")
	snippets := regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllStringSubmatch(docs, -1)
	if len(snippets) == 0 {
		t.Error("docs/agent.md has no example")
	}
	for _, s := range snippets {
		if _, err := load(t, s[1]); err != nil {
			t.Errorf("%v in docs/agent.md:\n%s", err, s[1])
		}
	}
	for _, key := range keys(reflect.TypeFor[config.Config]()) {
		if !regexp.MustCompile("[`.]" + key + "[`.]").MatchString(docs) {
			t.Errorf("docs/agent.md has no %s", key)
		}
		if !regexp.MustCompile(`\b` + key + `:`).MatchString(example) {
			t.Errorf("deploy/agent.yaml has no %s", key)
		}
	}
	for _, m := range report.Metrics() {
		if !strings.Contains(docs, "`"+m.Name+"`") {
			t.Errorf("docs/agent.md has no metric %s", m.Name)
		}
	}
}

// keys of a configuration and of what is in it.
func keys(t reflect.Type) (all []string) {
	for f := range t.Fields() {
		tag := f.Tag.Get("yaml")
		if tag == "-" {
			continue
		}
		all = append(all, tag)
		inner := f.Type
		if inner.Kind() == reflect.Slice {
			inner = inner.Elem()
		}
		if inner.Kind() == reflect.Struct {
			all = append(all, keys(inner)...)
		}
	}
	return all
}
