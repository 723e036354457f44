package config

import (
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"weir/loader/lb"
)

// fields reads the keys of one mapping: each method reports what is wrong with
// a value, and gives another where the key is not there.
type fields struct {
	r *report
	p *path
}

func (f fields) in(key string) fields { return fields{f.r, f.p.key(key)} }

func (f fields) fault(key, format string, args ...any) { f.r.field(f.p.key(key), format, args...) }

func (f fields) number(key string, raw *int64, otherwise int, least, most int64) int {
	if raw == nil {
		return otherwise
	}
	if *raw < least || *raw > most {
		f.fault(key, "%d is not in %d..%d", *raw, least, most)
		return otherwise
	}
	return int(*raw)
}

func (f fields) duration(key string, raw *time.Duration, otherwise, least, most time.Duration) time.Duration {
	if raw == nil {
		return otherwise
	}
	if *raw < least || *raw > most {
		f.fault(key, "%s is not in %s..%s", *raw, least, most)
		return otherwise
	}
	return *raw
}

func (f fields) size(key string, raw *size, otherwise, least, most int64) int64 {
	if raw == nil {
		return otherwise
	}
	n, err := raw.parse()
	if err != nil || n < least || n > most {
		f.fault(key, "%s is not in %s..%s", *raw, writeSize(least), writeSize(most))
		return otherwise
	}
	return n
}

func (f fields) oneOf(key string, raw *string, otherwise string, allowed ...string) string {
	if raw == nil {
		return otherwise
	}
	if !slices.Contains(allowed, *raw) {
		f.fault(key, "%s is not one of %s", quote(*raw), strings.Join(allowed, ", "))
		return otherwise
	}
	return *raw
}

// someOf reads a list of different words.
func (f fields) someOf(key string, raw, otherwise []string, allowed ...string) []string {
	if raw == nil {
		return otherwise
	}
	for i, word := range raw {
		item := f.p.key(key).item(i)
		switch {
		case f.r.known(item):
		case !slices.Contains(allowed, word):
			f.r.field(item, "%s is not one of %s", quote(word), strings.Join(allowed, ", "))
		case slices.Contains(raw[:i], word):
			f.r.field(item, "%s is there already", word)
		}
	}
	if len(raw) == 0 {
		f.fault(key, "is empty; name some of %s, or leave it out", strings.Join(allowed, ", "))
	}
	return raw
}

// file reads the absolute path of a file or directory.
func (f fields) file(key, raw string) string {
	if raw == "" {
		f.r.missing(f.p.key(key), "an absolute path")
	} else if !filepath.IsAbs(raw) {
		f.fault(key, "%s is not an absolute path", quote(raw))
	}
	return raw
}

func (f fields) optionalFile(key string, raw *string) string {
	if raw == nil {
		return ""
	}
	return f.file(key, *raw)
}

// prefixes reads addresses and prefixes. A prefix with bits behind its length
// is refused: it was meant otherwise.
func (f fields) prefixes(key string, raw []string) []netip.Prefix {
	var out []netip.Prefix
	for i, text := range raw {
		prefix, err := netip.ParsePrefix(text)
		if addr, isAddr := netip.ParseAddr(text); isAddr == nil && addr.Zone() == "" {
			prefix, err = netip.PrefixFrom(addr, addr.BitLen()), nil
		}
		if item := f.p.key(key).item(i); f.r.known(item) {
			continue
		} else if err != nil || prefix != prefix.Masked() || prefix.Addr().Is4In6() {
			f.r.field(item, "%s is not an address or prefix such as 10.0.0.0/8 or 2001:db8::/32", quote(text))
			continue
		}
		out = append(out, prefix)
	}
	return out
}

// template reads text with values of a request in it, without control
// characters.
func (f fields) template(key, raw string, captures []string) lb.Template {
	t, err := lb.ParseTemplate(raw, captures)
	switch {
	case err != nil:
		f.fault(key, "%s %s", quote(raw), err)
	case strings.ContainsFunc(raw, func(c rune) bool { return c < ' ' && c != '\t' || c == 0x7f }):
		f.fault(key, "%s has control characters", quote(raw))
	}
	return t
}

func (f fields) optionalTemplate(key string, raw *string, captures []string) lb.Template {
	if raw == nil {
		return nil
	}
	return f.template(key, *raw, captures)
}

// tokens reads names of fields, parameters or cookies (RFC 9110, 5.6.2).
func (f fields) tokens(key string, raw []string) []string {
	for i, name := range raw {
		if item := f.p.key(key).item(i); !f.r.known(item) && !isToken(name) {
			f.r.field(item, "%s is not a name of %s", quote(name), tokenChars)
		}
	}
	return raw
}

const tokenChars = "letters, digits and !#$%&'*+-.^_`|~"

func isToken(s string) bool {
	for _, c := range []byte(s) {
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		if !letter && !strings.ContainsRune("!#$%&'*+-.^_`|~", rune(c)) {
			return false
		}
	}
	return s != ""
}

// or gives what a pointer points to.
func or[T any](p *T, otherwise T) T {
	if p == nil {
		return otherwise
	}
	return *p
}
