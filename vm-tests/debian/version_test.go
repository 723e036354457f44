package debian

import "testing"

func TestCompareVersions(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want int
	}{
		{"6.1.0-9", "6.1.0-10", -1},
		{"6.12.117+deb12", "6.12.99+deb12", 1},
		{"6.12.9+bpo", "6.12.9+deb12", -1},
		{"6.12~rc1", "6.12", -1},
		{"6.12", "6.12.1", -1},
		{"6.012", "6.12", 0},
		{"", "", 0},
		{"6.12+b", "6.12a", 1},
	} {
		if got := compareVersions(c.a, c.b); got != c.want {
			t.Errorf("%q and %q: %d, want %d", c.a, c.b, got, c.want)
		}
		if got := compareVersions(c.b, c.a); got != -c.want {
			t.Errorf("%q and %q: %d, want %d", c.b, c.a, got, -c.want)
		}
	}
}
