package lb_test

import (
	"strings"
	"testing"

	"weir/loader/lb"
)

func TestParseTemplate(t *testing.T) {
	for _, c := range []struct {
		text    string
		pieces  int // -1: refused
		refusal string
	}{
		{"", 0, ""}, {"text", 1, ""}, {"{host}", 1, ""}, {"a{host}b{uri}", 4, ""}, {"{{}}", 1, ""}, {"{{host}}", 1, ""},
		{"{header:X-A}{query:q}{cookie:c}{response_header:Y}", 4, ""}, {"{id}", 1, ""},
		{"{", -1, "has a brace without its other"}, {"}", -1, "has a brace without its other"}, {"a{b", -1, "has a brace without its other"},
		{"{nope}", -1, "has {nope}, which is none of"}, {"{}", -1, "has {}, which is none of"}, {"{header:}", -1, "has {header:}"},
		{"{host:x}", -1, "has {host:x}"}, {"{header}", -1, "has {header}"},
	} {
		got, err := lb.ParseTemplate(c.text, []string{"id"})
		if (err == nil) != (c.pieces >= 0) || err != nil && !strings.HasPrefix(err.Error(), c.refusal) || err == nil && len(got) != c.pieces {
			t.Errorf("%q: %d pieces, %v", c.text, len(got), err)
		}
		if err == nil && got.String() != c.text {
			t.Errorf("%q is written %q", c.text, got)
		}
	}
	if text, fixed := lb.Literal("a").Fixed(); text != "a" || !fixed {
		t.Errorf("literal: %q, %v", text, fixed)
	}
	if _, fixed := (lb.Template{{Var: "host"}}).Fixed(); fixed {
		t.Error("a value is fixed")
	}
}

func FuzzTemplate(f *testing.F) {
	for _, s := range []string{"{host}", "a{{b}}{header:X}", "{", "}}", "{query:a b}"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, err := lb.ParseTemplate(s, nil)
		if err != nil {
			return
		}
		if again, err := lb.ParseTemplate(got.String(), nil); err != nil || again.String() != got.String() {
			t.Errorf("%q became %q, and that %q: %v", s, got, again, err)
		}
	})
}

func TestParsePattern(t *testing.T) {
	for _, c := range []struct {
		text, want string // kinds: l literal, 1 one, r rest, e end; "": refused
	}{
		{"/", "r"}, {"/a", "l"}, {"/a/", "lr"}, {"/a/{id}", "l1"}, {"/a/{id}/b", "l1l"}, {"/a/{rest...}", "lr"}, {"/{$}", "e"}, {"/a/{$}", "le"},
		{"", ""}, {"a", ""}, {"//", ""}, {"/a//b", ""}, {"/{id", ""}, {"/id}", ""}, {"/a{id}", ""}, {"/{}", ""}, {"/{1}", ""}, {"/{a-b}", ""},
		{"/{a...}/b", ""}, {"/{$}/b", ""}, {"/{a}/{a}", ""}, {"/{...}", ""},
	} {
		segments, err := lb.ParsePattern(c.text)
		got := ""
		for _, s := range segments {
			got += map[lb.SegmentKind]string{lb.LiteralSegment: "l", lb.OneSegment: "1", lb.RestSegment: "r", lb.EndSegment: "e"}[s.Kind]
		}
		if err != nil {
			got = ""
		}
		if got != c.want || (err == nil) != (c.want != "") {
			t.Errorf("%q: %q, %v, want %q", c.text, got, err, c.want)
		}
	}
}

func FuzzPattern(f *testing.F) {
	for _, s := range []string{"/", "/a/{id}/{rest...}", "/{$}", "/a//", "/{a}{b}"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		segments, err := lb.ParsePattern(s)
		if err == nil && len(segments) == 0 {
			t.Errorf("%q has no segments", s)
		}
		for i, seg := range segments {
			if last := i == len(segments)-1; !last && seg.Kind != lb.LiteralSegment && seg.Kind != lb.OneSegment {
				t.Errorf("%q: segment %d ends it", s, i)
			}
		}
	})
}
