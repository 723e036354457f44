package config

import (
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"
)

func mustRead(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestDocumentedSnippetsLoad(t *testing.T) {
	snippets := regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllStringSubmatch(mustRead(t, "../../docs/config.md"), -1)
	if len(snippets) < 7 {
		t.Fatalf("found %d snippets", len(snippets))
	}
	for _, s := range snippets {
		if _, err := Parse("docs/config.md", []byte(s[1])); err != nil {
			t.Errorf("%s\n%v", s[1], err)
		}
	}
}

func TestExampleLoads(t *testing.T) {
	c, err := Load("../../deploy/weir.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Services) < 4 || len(c.Pools) < 3 {
		t.Errorf("%d services and %d pools", len(c.Services), len(c.Pools))
	}
}

// Every key is in the reference and in the example.
func TestEveryKeyIsDocumented(t *testing.T) {
	reference, example := mustRead(t, "../../docs/config.md"), mustRead(t, "../../deploy/weir.yaml")
	for _, shape := range []any{file{}, events{}, limits{}, timeouts{}, pool{}, quic{}, backend{}, health{}, service{}} {
		for _, key := range keysOf(reflect.TypeOf(shape)) {
			if !strings.Contains(reference, "| `"+key+"` |") {
				t.Errorf("docs/config.md has no row for %s", key)
			}
			if !strings.Contains(example, key+":") {
				t.Errorf("deploy/weir.yaml has no %s", key)
			}
		}
	}
}
