package lb

import (
	"fmt"
	"slices"
	"strings"
)

// Template is text with values of a request in it: "{host}", "{header:X-A}".
// The zero value is empty.
type Template []Piece

// Piece is text, or a value if Var is not empty.
type Piece struct {
	Text string
	Var  string // one of TemplateVars, or the name of a path capture
	Arg  string // of header, response_header, cookie, query, env
}

// Variables without and with an argument. Those after "status" exist only when
// the response does: in response headers and access logs.
var (
	templateVars = []string{
		"client_ip", "client_port", "connection_ip", "listener", "local_ip", "local_port",
		"scheme", "protocol", "method", "host", "hostname", "port", "target", "path", "query", "uri",
		"request_id", "route", "tls_version", "tls_cipher", "tls_sni", "client_subject", "client_fingerprint",
		"trace_id", "time", "time_clf",
		"status", "pool", "backend", "attempts", "cache", "failure", "sent", "received", "duration", "duration_us",
	}
	templateArgs = []string{"header", "query", "cookie", "response_header"}
)

// TemplateVars are the names of values, for people.
func TemplateVars() string {
	return strings.Join(templateVars, ", ") + ", " + strings.Join(templateArgs, ":NAME, ") + ":NAME"
}

// IsTemplateVar reports whether a name stands for a value without an argument.
func IsTemplateVar(name string) bool { return slices.Contains(templateVars, name) }

// ParseTemplate reads text with {names}; {{ and }} stand for braces. captures
// are names that are known besides.
func ParseTemplate(s string, captures []string) (Template, error) {
	var t Template
	var text strings.Builder
	flush := func() {
		if text.Len() > 0 {
			t = append(t, Piece{Text: text.String()})
			text.Reset()
		}
	}
	for s != "" {
		i := strings.IndexAny(s, "{}")
		if i < 0 {
			text.WriteString(s)
			break
		}
		text.WriteString(s[:i])
		if i+1 < len(s) && s[i+1] == s[i] {
			text.WriteByte(s[i])
			s = s[i+2:]
			continue
		}
		name, rest, closed := strings.Cut(s[i+1:], "}")
		if s[i] == '}' || !closed {
			return nil, fmt.Errorf("has a brace without its other; {{ and }} stand for braces themselves")
		}
		flush()
		p, err := parsePiece(name, captures)
		if err != nil {
			return nil, err
		}
		t, s = append(t, p), rest
	}
	flush()
	return t, nil
}

func parsePiece(name string, captures []string) (Piece, error) {
	if slices.Contains(templateVars, name) || slices.Contains(captures, name) {
		return Piece{Var: name}, nil
	}
	if kind, arg, is := strings.Cut(name, ":"); is && arg != "" && slices.Contains(templateArgs, kind) {
		return Piece{Var: kind, Arg: arg}, nil
	}
	return Piece{}, fmt.Errorf("has {%s}, which is none of %s, nor a capture of the route's path", name, TemplateVars())
}

// Literal is a template of text only.
func Literal(s string) Template {
	if s == "" {
		return nil
	}
	return Template{{Text: s}}
}

// Fixed reports whether the template has no values, and its text.
func (t Template) Fixed() (string, bool) {
	switch {
	case len(t) == 0:
		return "", true
	case len(t) == 1 && t[0].Var == "":
		return t[0].Text, true
	}
	return "", false
}

// String is the template as it is written.
func (t Template) String() string {
	var b strings.Builder
	for _, p := range t {
		switch {
		case p.Var == "":
			b.WriteString(strings.NewReplacer("{", "{{", "}", "}}").Replace(p.Text))
		case p.Arg == "":
			b.WriteString("{" + p.Var + "}")
		default:
			b.WriteString("{" + p.Var + ":" + p.Arg + "}")
		}
	}
	return b.String()
}
