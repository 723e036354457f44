package coding

import (
	"slices"
	"testing"

	"weir/l7/exchange"
)

func accept(lines ...string) *exchange.Header {
	h := &exchange.Header{}
	for _, line := range lines {
		h.Add("Accept-Encoding", []byte(line))
	}
	return h
}

func TestBest(t *testing.T) {
	all := []Coding{Zstd, Brotli, Gzip}
	for _, c := range []struct {
		name   string
		accept []string
		offers []Coding
		want   Coding
	}{
		{"no field", nil, all, Identity},
		{"empty", []string{""}, all, Identity},
		{"one", []string{"gzip"}, all, Gzip},
		{"server's order", []string{"gzip, deflate, br, zstd"}, all, Zstd},
		{"client's order", []string{"gzip;q=1.0, br;q=0.9, zstd;q=0.8"}, all, Gzip},
		{"thousandths", []string{"gzip;q=0.998, br;q=0.999"}, all, Brotli},
		{"lines", []string{"gzip", "br"}, all, Brotli},
		{"any case", []string{"GZip;Q=0.5"}, all, Gzip},
		{"x-gzip", []string{"x-gzip"}, all, Gzip},
		{"any", []string{"*"}, all, Zstd},
		{"any but", []string{"*, zstd;q=0"}, all, Brotli},
		{"none", []string{"gzip;q=0"}, all, Identity},
		{"none at all", []string{"*;q=0"}, all, Identity},
		{"not offered", []string{"br"}, []Coding{Gzip}, Identity},
		{"unknown", []string{"deflate, compress"}, all, Identity},
		{"first counts", []string{"gzip;q=0, gzip"}, all, Identity},
		{"bad weight", []string{"gzip;q=2, br;q=x, zstd;q=0.1234"}, all, Identity},
		{"space", []string{" gzip ; q=0.5 , br;q=0.25"}, all, Gzip},
	} {
		if got := Read(accept(c.accept...)).Best(c.offers); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}

func TestCanonical(t *testing.T) {
	for _, c := range []struct {
		accept, want string
		ok           bool
	}{
		{"gzip, deflate, br, zstd", "br, zstd, gzip", true},
		{"br;q=0.1,gzip", "br, gzip", true},
		{"deflate", "", true},
		{"gzip, identity;q=0", "gzip", false},
		{"gzip, *;q=0", "gzip", false},
		{"*", "br, zstd, gzip", true},
	} {
		got, ok := Read(accept(c.accept)).Canonical()
		if string(got) != c.want || ok != c.ok {
			t.Errorf("%q: %q, %v", c.accept, got, ok)
		}
	}
}

func TestReadDoesNotAllocate(t *testing.T) {
	h := accept("gzip, deflate, br;q=0.5, zstd")
	if n := testing.AllocsPerRun(100, func() { Read(h).Canonical() }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func FuzzRead(f *testing.F) {
	f.Add("gzip;q=0.5, br, *;q=0", "zstd")
	f.Add(";q=1,,=", "identity;q=0")
	f.Fuzz(func(t *testing.T, one, two string) {
		a := Read(accept(one, two))
		for c, q := range a {
			if q > full {
				t.Fatalf("%v has weight %d", Coding(c), q)
			}
		}
		value, _ := a.Canonical()
		again := Read(accept(string(value)))
		for c := Brotli; c < Codings; c++ {
			if (a[c] > 0) != (again[c] > 0) {
				t.Fatalf("%q, %q: %v becomes %v", one, two, a, again)
			}
		}
		if best := a.Best([]Coding{Brotli, Gzip}); best != Identity && a[best] == 0 || !slices.Contains([]Coding{Identity, Brotli, Gzip}, best) {
			t.Fatalf("%v chosen of %v", best, a)
		}
	})
}
