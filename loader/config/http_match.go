package config

import (
	"fmt"
	"regexp"
	"strings"

	"weir/loader/lb"
)

// readMatch gives the match and the names that its path captures.
func readMatch(f fields, raw match) (lb.Match, []string) {
	out := lb.Match{
		Hosts: f.hosts("hosts", raw.Hosts), Methods: f.tokens("methods", raw.Methods),
		Headers: f.conditions("headers", raw.Headers), Query: f.conditions("query", raw.Query),
		Cookies: f.conditions("cookies", raw.Cookies), Sources: f.prefixes("sources", raw.Sources),
	}
	for _, c := range []struct {
		key  string
		raw  *string
		kind lb.PathKind
	}{
		{"path", raw.Path, lb.ExactPath}, {"prefix", raw.Prefix, lb.PrefixPath},
		{"pattern", raw.Pattern, lb.PatternPath}, {"regexp", raw.Regexp, lb.RegexpPath},
	} {
		if c.raw == nil {
			continue
		}
		if out.Path.Kind != lb.AnyPath {
			f.fault(c.key, "is one too many: a route has one of path, prefix, pattern and regexp")
			continue
		}
		out.Path = lb.PathMatch{Kind: c.kind, Text: *c.raw}
		f.pathText(c.key, out.Path)
	}
	captures := pathCaptures(out.Path)
	for _, name := range captures {
		if lb.IsTemplateVar(name) {
			f.r.field(f.p, "captures {%s}, which is the name of another value", name)
		}
	}
	return out, captures
}

func (f fields) pathText(key string, m lb.PathMatch) {
	var err error
	switch m.Kind {
	case lb.RegexpPath:
		_, err = regexp.Compile(m.Text)
		if err != nil {
			err = fmt.Errorf("is no regular expression (RE2): %w", err)
		}
	case lb.PatternPath:
		if _, err = lb.ParsePattern(m.Text); err == nil {
			err = checkPath(strings.NewReplacer("{", "", "}", "", "...", "", "$", "").Replace(m.Text))
		}
	default:
		err = checkPath(m.Text)
	}
	if err != nil {
		f.fault(key, "%s %s", quote(m.Text), err)
	}
}

// checkPath says why no request has a canonical path with this. Its errors
// continue a sentence that begins with the path.
func checkPath(s string) error {
	if !strings.HasPrefix(s, "/") {
		return fmt.Errorf("does not begin with /")
	}
	if strings.Contains(s, "//") {
		return fmt.Errorf("has an empty segment, which canonical paths have not")
	}
	for part := range strings.SplitSeq(s, "/") {
		if part == "." || part == ".." {
			return fmt.Errorf("has a dot segment, which canonical paths have not")
		}
	}
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c == '%' {
			if !regexp.MustCompile("^%[0-9A-F]{2}").MatchString(s[i:]) {
				return fmt.Errorf("has %% without two digits in 0-9 A-F behind it")
			}
			continue
		}
		if !isPathByte(c) {
			return fmt.Errorf("has %q, which is written %%%02X in paths", c, c)
		}
	}
	return nil
}

// isPathByte follows RFC 3986, 3.3.
func isPathByte(c byte) bool {
	letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
	return letter || strings.IndexByte("-._~!$&'()*+,;=:@/", c) >= 0
}

func pathCaptures(m lb.PathMatch) (names []string) {
	switch m.Kind {
	case lb.PatternPath:
		segments, _ := lb.ParsePattern(m.Text) // a fault was reported
		for _, s := range segments {
			if s.Kind != lb.LiteralSegment && s.Text != "" {
				names = append(names, s.Text)
			}
		}
	case lb.RegexpPath:
		if re, err := regexp.Compile(m.Text); err == nil {
			for _, name := range re.SubexpNames() {
				if name != "" {
					names = append(names, name)
				}
			}
		}
	}
	return names
}

// conditions reads comparisons, of which each has one.
func (f fields) conditions(key string, listed []condition) []lb.Condition {
	var out []lb.Condition
	for i, raw := range listed {
		item := fields{f.r, f.p.key(key).item(i)}
		if f.r.known(item.p) {
			continue
		}
		out = append(out, item.condition(raw))
	}
	return out
}

func (f fields) condition(raw condition) lb.Condition {
	out := lb.Condition{Name: raw.Name}
	if raw.Name == "" {
		f.r.missing(f.p.key("name"), "a name")
	} else if !isToken(raw.Name) {
		f.fault("name", "%s is not a name of %s", quote(raw.Name), tokenChars)
	}
	if raw.Present != nil && !*raw.Present {
		out.Op = lb.IsAbsent
	}
	count := 0
	if raw.Present != nil {
		count++
	}
	for _, c := range []struct {
		raw *string
		op  lb.ConditionOp
	}{
		{raw.Exact, lb.IsExact}, {raw.Prefix, lb.HasPrefix}, {raw.Suffix, lb.HasSuffix},
		{raw.Contains, lb.Contains}, {raw.Regexp, lb.MatchesRegexp},
	} {
		if c.raw != nil {
			out.Op, out.Value = c.op, *c.raw
			count++
		}
	}
	if count > 1 {
		f.r.field(f.p, "has %d comparisons; it has one of exact, prefix, suffix, contains, regexp and present", count)
	}
	if out.Op == lb.MatchesRegexp {
		if _, err := regexp.Compile(out.Value); err != nil {
			f.fault("regexp", "%s is no regular expression (RE2): %s", quote(out.Value), err)
		}
	}
	return out
}

func readRewrite(f fields, raw rewrite, captures []string) lb.Rewrite {
	out := lb.Rewrite{
		Path: f.optionalTemplate("path", raw.Path, captures), Host: f.optionalTemplate("host", raw.Host, captures),
		StripPrefix: or(raw.StripPrefix, ""), AddPrefix: or(raw.AddPrefix, ""),
		Regexp: or(raw.Regexp, ""), Replacement: or(raw.Replacement, ""),
		SetQuery: f.headerValues("set_query", raw.SetQuery, captures), RemoveQuery: raw.RemoveQuery,
	}
	checkWays(f, raw)
	if raw.Path != nil && !strings.HasPrefix(*raw.Path, "/") && !strings.HasPrefix(*raw.Path, "{path}") {
		f.fault("path", "%s does not begin with / or {path}", quote(*raw.Path))
	}
	if _, err := regexp.Compile(out.Regexp); err != nil {
		f.fault("regexp", "%s is no regular expression (RE2): %s", quote(out.Regexp), err)
	}
	for key, prefix := range map[string]*string{"strip_prefix": raw.StripPrefix, "add_prefix": raw.AddPrefix} {
		if prefix == nil {
			continue
		}
		if err := checkPath(*prefix); err != nil {
			f.fault(key, "%s %s", quote(*prefix), err)
		} else if len(*prefix) > 1 && strings.HasSuffix(*prefix, "/") {
			f.fault(key, "%s ends with /; leave that out", quote(*prefix))
		}
	}
	return out
}

// checkWays refuses more than one way to make a path.
func checkWays(f fields, raw rewrite) {
	whole, expression, prefixes := raw.Path != nil, raw.Regexp != nil, raw.StripPrefix != nil || raw.AddPrefix != nil
	switch {
	case whole && (expression || prefixes):
		f.fault("path", "cannot be beside regexp, strip_prefix and add_prefix")
	case expression && prefixes:
		f.fault("regexp", "cannot be beside strip_prefix and add_prefix")
	case expression != (raw.Replacement != nil):
		f.r.field(f.p, "has one of regexp and replacement; they go together")
	}
}
