package control

import (
	"encoding/json"
	"io"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"weir/loader/weight"
)

func TestOverridesFileRoundTrip(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new", "state")
	f := overridesFile{filepath.Join(dir, "overrides.json")}
	want := Overrides{
		{"web", netip.MustParseAddrPort("10.0.0.1:80")}:      {Weight: 5},
		{"web", netip.MustParseAddrPort("10.0.0.2:80")}:      {Weight: 0},
		{"dns", netip.MustParseAddrPort("[2001:db8::1]:53")}: {Drain: true},
	}
	for range 2 { // the second time over the first
		if err := f.save(want); err != nil {
			t.Fatal(err)
		}
		got, err := f.load()
		if err != nil || !maps.Equal(got, want) {
			t.Errorf("read back %v, %v; want %v", got, err, want)
		}
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) != 1 {
		t.Errorf("directory holds %v, %v; want the one file", left, err)
	}
}

func TestOverridesFileMissing(t *testing.T) {
	got, err := overridesFile{filepath.Join(t.TempDir(), "none")}.load()
	if err != nil || len(got) != 0 {
		t.Errorf("load of a missing file = %v, %v", got, err)
	}
}

func TestOverridesFileDamaged(t *testing.T) {
	path := filepath.Join(t.TempDir(), "overrides.json")
	for _, tc := range []struct{ content, want string }{
		{``, "EOF"},
		{`{"version":1,"overrides":[`, "unexpected EOF"},
		{`{"version":1,"overrides":[]} x`, "data after the end"},
		{`{"version":2,"overrides":[]}`, "version 2 is not 1"},
		{`{"version":1,"overides":[]}`, `unknown field "overides"`},
		{`{"version":1,"overrides":[{"pool":"web","backend":"x","weight":1}]}`, "not an ip:port"},
		{`{"version":1,"overrides":[{"pool":"web","backend":"10.0.0.1:80"}]}`, "backend web/10.0.0.1:80: needs either weight or drain"},
		{`{"version":1,"overrides":[{"pool":"web","backend":"10.0.0.1:80","weight":1,"drain":true}]}`, "needs either"},
		{`{"version":1,"overrides":[{"pool":"web","backend":"10.0.0.1:80","weight":1001}]}`, "weight 1001 is above 1000"},
		{`{"version":1,"overrides":[{"pool":"web","backend":"10.0.0.1:80","weight":-1}]}`, "number -1"},
		{`{"version":1,"overrides":[{"pool":"a","backend":"10.0.0.1:80","weight":1},{"pool":"a","backend":"10.0.0.1:80","drain":true}]}`, "appears twice"},
	} {
		if err := os.WriteFile(path, []byte(tc.content), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := overridesFile{path}.load()
		if err == nil || !strings.Contains(err.Error(), tc.want) || !strings.Contains(err.Error(), path) {
			t.Errorf("load of %s = %v, want %q and the file's name", tc.content, err, tc.want)
		}
	}
}

func TestOverridesAreCopied(t *testing.T) {
	r := Ref{"web", netip.MustParseAddrPort("10.0.0.1:80")}
	var none Overrides
	one := none.with(r, weight.Override{Weight: 1})
	two := one.with(r, weight.Override{Weight: 2})
	gone := two.without(r)
	if len(none) != 0 || one[r].Weight != 1 || two[r].Weight != 2 || len(gone) != 0 {
		t.Errorf("none %v, one %v, two %v, gone %v", none, one, two, gone)
	}
}

// A reader, or a crash, in the middle of a save sees the old file.
func TestOverridesFileIsReplaced(t *testing.T) {
	f := overridesFile{filepath.Join(t.TempDir(), "overrides.json")}
	if err := f.save(Overrides{}); err != nil {
		t.Fatal(err)
	}
	before, err := os.Open(f.path)
	if err != nil {
		t.Fatal(err)
	}
	defer before.Close()
	if err := f.save(Overrides{{"web", netip.MustParseAddrPort("10.0.0.1:80")}: {Drain: true}}); err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(before)
	if err != nil || strings.Contains(string(b), "drain") {
		t.Errorf("the old file was written to: %s, %v", b, err)
	}
}

// What is read from a file is what is saved again.
func FuzzOverrides(f *testing.F) {
	for _, s := range []string{
		`{"version":1,"overrides":[{"pool":"web","backend":"10.0.0.1:80","weight":1,"until":"2026-01-02T03:04:05Z","reason":"why"}]}`,
		`{"version":1,"overrides":[{"pool":"web","backend":"[2001:db8::1]:0","drain":true}]}`,
		`{"version":1,"overrides":[{"pool":"web","backend":"10.0.0.1:80","weight":1,"reason":"a\nb"}]}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		o, err := parseOverrides(b)
		if err != nil {
			return
		}
		text, err := json.Marshal(o.document())
		if err != nil {
			t.Fatal(err)
		}
		again, err := parseOverrides(text)
		same := func(a, b weight.Override) bool {
			return a.Drain == b.Drain && a.Weight == b.Weight && a.Reason == b.Reason && a.Until.Equal(b.Until)
		}
		if err != nil || !maps.EqualFunc(o, again, same) {
			t.Errorf("%v saved and read is %v, %v", o, again, err)
		}
	})
}
