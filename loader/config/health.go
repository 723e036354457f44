package config

import (
	"encoding/hex"
	"math"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"time"

	"weir/loader/lb"
)

// Bounds and defaults of health checks.
const (
	minInterval, maxInterval = 100 * time.Millisecond, time.Hour
	minFast                  = 50 * time.Millisecond
	minProbe                 = 10 * time.Millisecond
	maxStreak                = 100
	maxJitter                = 50
	maxPayload               = 1024 // bytes; fits a datagram everywhere

	defaultInterval = 2 * time.Second
	defaultRise     = 2
	defaultFall     = 3
	defaultJitter   = 10
	defaultWarn     = 14 * 24 * time.Hour
)

// everyType are the keys that each type of check has; keysOfType the others.
var (
	everyType = []string{"type", "via", "port", "interval", "fast_interval", "timeout", "rise", "fall", "jitter"}
	httpKeys  = []string{"method", "path", "host", "status", "body", "body_regexp"}
	grpcKeys  = []string{"service", "host"}
	tlsKeys   = []string{"server_name", "ca", "verify", "warn_before"}
	bytesKeys = []string{"send", "expect"}
)

func keysOfType(t lb.HealthType) []string {
	keys := slices.Clone(everyType)
	switch {
	case t.HTTP():
		keys = append(keys, httpKeys...)
	case t.GRPC():
		keys = append(keys, grpcKeys...)
	case t == lb.HealthTCP, t == lb.HealthUDP:
		keys = append(keys, bytesKeys...)
	case t == lb.HealthDNS:
		keys = append(keys, "query", "record", "rcode")
	case t == lb.HealthExec:
		keys = append(keys, "command")
	}
	if t.TLS() {
		keys = append(keys, tlsKeys...)
	}
	return keys
}

// readHealths reads a pool's check and, into its backends, theirs. If the
// pool's has a fault, nothing is said of those that build on it.
func readHealths(r *report, p *path, raw pool, into []lb.Backend) lb.Health {
	var out lb.Health
	before := len(r.faults)
	if raw.Health != nil {
		out = readHealth(r, p.key("health"), *raw.Health)
	}
	if len(r.faults) > before {
		return out
	}
	for i, b := range raw.Backends {
		if b.Health != nil && i < len(into) {
			own := readHealth(r, p.key("backends").item(i).key("health"), b.Health.over(raw.Health))
			into[i].Health = &own
		}
	}
	return out
}

// over gives what h says and, where it says nothing, what base does. Of a
// base of another type only the keys that every type has are taken.
func (h *health) over(base *health) health {
	out := *h
	if base == nil {
		return out
	}
	otherType := h.Type != nil && base.Type != nil && *h.Type != *base.Type
	to, from := reflect.ValueOf(&out).Elem(), reflect.ValueOf(*base)
	for i := range to.NumField() {
		key := to.Type().Field(i).Tag.Get("mapstructure")
		if to.Field(i).IsNil() && (!otherType || slices.Contains(everyType, key)) {
			to.Field(i).Set(from.Field(i))
		}
	}
	return out
}

func readHealth(r *report, p *path, raw health) lb.Health {
	if raw.Type == nil {
		r.missing(p.key("type"), lb.HealthTypeNames())
		return lb.Health{}
	}
	kind, err := lb.ParseHealthType(*raw.Type)
	if err != nil {
		r.field(p.key("type"), "%s is not %s", quote(*raw.Type), lb.HealthTypeNames())
		return lb.Health{}
	}
	checkHealthKeys(r, p, raw, kind)
	h := &healthReader{fields: fields{r, p}, raw: raw, out: lb.Health{Type: kind, Command: raw.Command}}
	if raw.Via != nil {
		h.out.Via = lb.HealthVia(h.oneOf("via", raw.Via, "", string(lb.ViaAddress), string(lb.ViaVIP), string(lb.ViaBoth)))
	}
	h.timing()
	switch {
	case kind.HTTP():
		h.http()
	case kind.GRPC():
		h.out.Host = h.word("host", raw.Host, "")
		h.out.Service = or(raw.Service, "")
	case kind == lb.HealthTCP, kind == lb.HealthUDP:
		h.payload()
	case kind == lb.HealthDNS:
		h.dns()
	case kind == lb.HealthExec:
		h.command()
	}
	if kind.TLS() {
		h.tls()
	}
	return h.out
}

// checkHealthKeys reports keys that the type has not.
func checkHealthKeys(r *report, p *path, raw health, kind lb.HealthType) {
	allowed, v := keysOfType(kind), reflect.ValueOf(raw)
	for i := range v.NumField() {
		key := v.Type().Field(i).Tag.Get("mapstructure")
		if !v.Field(i).IsNil() && !slices.Contains(allowed, key) {
			r.field(p.key(key), "is not for checks of type %s; they have %s", kind, strings.Join(allowed, ", "))
		}
	}
}

// healthReader reads one check.
type healthReader struct {
	fields
	raw health
	out lb.Health
}

func (h *healthReader) timing() {
	h.out.Port = uint16(h.number("port", h.raw.Port, 0, 1, math.MaxUint16))
	h.out.Interval = h.duration("interval", h.raw.Interval, defaultInterval, minInterval, maxInterval)
	if h.r.known(h.p.key("interval")) {
		return // what must fit into it is unknown
	}
	h.out.FastInterval = h.duration("fast_interval", h.raw.FastInterval, max(h.out.Interval/4, minFast), minFast, h.out.Interval)
	h.out.Timeout = h.duration("timeout", h.raw.Timeout, h.out.Interval/2, minProbe, h.out.Interval)
	h.out.Rise = h.number("rise", h.raw.Rise, defaultRise, 1, maxStreak)
	h.out.Fall = h.number("fall", h.raw.Fall, defaultFall, 1, maxStreak)
	h.out.Jitter = h.number("jitter", h.raw.Jitter, defaultJitter, 0, maxJitter)
}

func (h *healthReader) http() {
	h.out.Method = h.word("method", h.raw.Method, "GET")
	h.out.Path = h.word("path", h.raw.Path, "/")
	if !strings.HasPrefix(h.out.Path, "/") {
		h.fault("path", "%s does not begin with /", quote(h.out.Path))
	}
	h.out.Host = h.word("host", h.raw.Host, "")
	var err error
	if h.out.Status, err = lb.ParseStatusSet(or(h.raw.Status, "200-299")); err != nil {
		h.fault("status", "%s is not codes in 100..599 such as 200-299,304", quote(*h.raw.Status))
	}
	h.out.Body, h.out.BodyRegexp = or(h.raw.Body, ""), or(h.raw.BodyRegexp, "")
	if _, err := regexp.Compile(h.out.BodyRegexp); err != nil {
		h.fault("body_regexp", "%s is no regular expression (RE2): %s", quote(h.out.BodyRegexp), err)
	}
}

func (h *healthReader) payload() {
	h.out.Send, h.out.Expect = h.bytes("send", h.raw.Send), h.bytes("expect", h.raw.Expect)
	if h.out.Type == lb.HealthUDP && h.out.Send == "" {
		h.r.missing(h.p.key("send"), "what is sent, as text or like hex:00ff")
	}
}

func (h *healthReader) dns() {
	h.out.Query = h.word("query", h.raw.Query, "")
	h.out.Record = h.oneOf("record", h.raw.Record, "A", lb.DNSRecords()...)
	h.out.RCode = h.oneOf("rcode", h.raw.RCode, "NOERROR", lb.DNSRCodes()...)
	if h.raw.Query == nil {
		h.r.missing(h.p.key("query"), "the name to ask for")
	} else if !isDNSName(h.out.Query) {
		h.fault("query", "%s is no DNS name", quote(h.out.Query))
	}
}

// isDNSName follows RFC 1035, 2.3.4.
func isDNSName(s string) bool {
	s = strings.TrimSuffix(s, ".")
	wrong := func(label string) bool { return label == "" || len(label) > 63 }
	return s == "" || len(s) <= 253 && !slices.ContainsFunc(strings.Split(s, "."), wrong)
}

func (h *healthReader) command() {
	switch {
	case len(h.out.Command) == 0:
		h.r.missing(h.p.key("command"), "a list of a program's absolute path and its arguments")
	case !filepath.IsAbs(h.out.Command[0]):
		h.r.field(h.p.key("command").item(0), "%s is not an absolute path", quote(h.out.Command[0]))
	}
}

func (h *healthReader) tls() {
	h.out.ServerName = h.word("server_name", h.raw.ServerName, "")
	h.out.Verify = lb.TLSVerify(h.oneOf("verify", h.raw.Verify, string(lb.VerifyFull),
		string(lb.VerifyFull), string(lb.VerifyChain), string(lb.VerifyNone)))
	h.out.WarnBefore = h.duration("warn_before", h.raw.WarnBefore, defaultWarn, 0, 10*365*24*time.Hour)
	if h.raw.CA == nil {
		return
	}
	var err error
	if h.out.CA, err = readCA(*h.raw.CA); err != nil {
		h.fault("ca", "%s %s", quote(*h.raw.CA), err)
	}
}

// word is text that goes into a request line or header: without blanks and
// control characters.
func (h *healthReader) word(key string, raw *string, otherwise string) string {
	s := or(raw, otherwise)
	if raw != nil && (s == "" || strings.ContainsFunc(s, func(c rune) bool { return c <= ' ' || c >= 0x7f })) {
		h.fault(key, "%s is not ASCII text without blanks", quote(s))
	}
	return s
}

// bytes reads text or, after "hex:", hexadecimal digits.
func (h *healthReader) bytes(key string, raw *string) string {
	s := or(raw, "")
	if digits, isHex := strings.CutPrefix(s, "hex:"); isHex {
		b, err := hex.DecodeString(digits)
		if err != nil {
			h.fault(key, "%s has no hexadecimal bytes after hex:", quote(s))
		}
		s = string(b)
	}
	if len(s) > maxPayload {
		h.fault(key, "%d bytes are more than there can be (%d)", len(s), maxPayload)
	}
	return s
}
