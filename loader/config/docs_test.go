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
	keys := agentKeys(t)
	for _, doc := range []struct {
		name  string
		least int
	}{{"docs/config.md", 7}, {"docs/l7.md", 14}} {
		snippets := regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllStringSubmatch(mustRead(t, "../../"+doc.name), -1)
		if len(snippets) < doc.least {
			t.Fatalf("%s: found %d snippets", doc.name, len(snippets))
		}
		for _, s := range snippets {
			s[1] = strings.ReplaceAll(s[1], "/etc/weir/agents", keys)
			if _, err := Parse(doc.name, []byte(s[1])); err != nil {
				t.Errorf("%s\n%v", s[1], err)
			}
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

// Every key of the HTTP tier is in its reference and in its example.
func TestEveryHTTPKeyIsDocumented(t *testing.T) {
	reference, example := mustRead(t, "../../docs/l7.md"), mustRead(t, "../../deploy/weir-http.yaml")
	if _, err := Load("../../deploy/weir-http.yaml"); err != nil {
		t.Error(err)
	}
	everyKey(reflect.TypeFor[httpTier](), func(key string) {
		if !regexp.MustCompile("(?m)^\\| [^|]*`" + key + "`").MatchString(reference) {
			t.Errorf("docs/l7.md has no row for %s", key)
		}
		if !regexp.MustCompile(`\b` + key + ":").MatchString(example) {
			t.Errorf("deploy/weir-http.yaml has no %s", key)
		}
	})
	everyKey(reflect.TypeFor[poolHTTP](), func(key string) {
		if !strings.Contains(reference, "`"+key+"`") || !strings.Contains(example, key+":") {
			t.Errorf("key %s of a pool is not in both docs/l7.md and deploy/weir-http.yaml", key)
		}
	})
}

// everyKey calls visit for the keys of a shape and of those inside it.
func everyKey(t reflect.Type, visit func(string)) {
	for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice {
		t = t.Elem()
	}
	if t.Kind() != reflect.Struct {
		return
	}
	for i := range t.NumField() {
		visit(t.Field(i).Tag.Get("mapstructure"))
		everyKey(t.Field(i).Type, visit)
	}
}

// Every key is in the reference and in the example.
func TestEveryKeyIsDocumented(t *testing.T) {
	reference, example := mustRead(t, "../../docs/config.md"), mustRead(t, "../../deploy/weir.yaml")
	for _, shape := range []any{file{}, events{}, limits{}, timeouts{}, pool{}, quic{}, backend{}, health{}, service{}, resources{}, agent{}, limit{}, acl{}, flowLimit{}} {
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
