package debian

import (
	"cmp"
	"strings"
)

// compareVersions orders versions as dpkg does (deb-version(7)) as far as
// package names of kernels need it: digits by value, "~" before everything,
// letters before other signs.
func compareVersions(a, b string) int {
	for a != "" || b != "" {
		var ta, tb string
		ta, a = cut(a, func(c byte) bool { return !digit(c) })
		tb, b = cut(b, func(c byte) bool { return !digit(c) })
		if c := compareText(ta, tb); c != 0 {
			return c
		}
		ta, a = cut(a, digit)
		tb, b = cut(b, digit)
		if c := compareNumbers(ta, tb); c != 0 {
			return c
		}
	}
	return 0
}

func digit(c byte) bool { return c >= '0' && c <= '9' }

func cut(s string, in func(byte) bool) (head, tail string) {
	n := 0
	for n < len(s) && in(s[n]) {
		n++
	}
	return s[:n], s[n:]
}

func compareText(a, b string) int {
	for i := range max(len(a), len(b)) {
		if c := cmp.Compare(rank(a, i), rank(b, i)); c != 0 {
			return c
		}
	}
	return 0
}

// rank orders one sign; the end of the text counts as a sign after "~".
func rank(s string, i int) int {
	switch {
	case i >= len(s):
		return 0
	case s[i] == '~':
		return -1
	case s[i] >= 'A' && s[i] <= 'Z', s[i] >= 'a' && s[i] <= 'z':
		return int(s[i])
	}
	return 256 + int(s[i])
}

func compareNumbers(a, b string) int {
	a, b = strings.TrimLeft(a, "0"), strings.TrimLeft(b, "0")
	return cmp.Or(cmp.Compare(len(a), len(b)), cmp.Compare(a, b))
}
