package report

import "strings"

// ValidMetric reports whether a name may stand in a report: at most 64
// letters, digits and "_.:-", a lower-case letter first.
func ValidMetric(name string) bool {
	if name == "" || len(name) > 64 || name[0] < 'a' || name[0] > 'z' {
		return false
	}
	for _, c := range []byte(name) {
		if !alphanumeric(c) && !strings.ContainsRune("_.:-", rune(c)) {
			return false
		}
	}
	return true
}

func alphanumeric(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
}

// dnsName takes names as RFC 1123 section 2.1 has them, in lower case, and _,
// which names of hosts have in practice. One that ends in a number would be
// taken for an address (RFC 3696 section 2).
func dnsName(name string) bool {
	if len(name) > 253 {
		return false
	}
	last := ""
	for label := range strings.SplitSeq(name, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		for _, c := range []byte(label) {
			if !alphanumeric(c) && c != '-' && c != '_' || c >= 'A' && c <= 'Z' {
				return false
			}
		}
		last = label
	}
	return strings.Trim(last, "0123456789") != ""
}

// Clean is text as a report may carry it: one line of printable ASCII, cut at
// 256 bytes. Each other character becomes a question mark.
func Clean(text string) string {
	var b strings.Builder
	for _, r := range text {
		if b.Len() == maxText {
			break
		}
		if r < ' ' || r > '~' {
			r = '?'
		}
		b.WriteRune(r)
	}
	return b.String()
}
