package config

import (
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"io"
	"math"
	"os"
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
	maxCA                    = 1 << 20

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
	h := &healthReader{r: r, p: p, raw: raw, out: lb.Health{Type: kind, Command: raw.Command}}
	if raw.Via != nil {
		h.out.Via = lb.HealthVia(h.oneOf("via", raw.Via, "", []string{string(lb.ViaAddress), string(lb.ViaVIP), string(lb.ViaBoth)}))
	}
	h.timing()
	switch {
	case kind.HTTP():
		h.http()
	case kind.GRPC():
		h.out.Host = h.word("host", raw.Host, "")
		h.out.Service = h.text(raw.Service, "")
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
	r   *report
	p   *path
	raw health
	out lb.Health
}

func (h *healthReader) timing() {
	h.out.Port = uint16(h.number("port", h.raw.Port, 0, 1, math.MaxUint16))
	h.out.Interval = h.duration("interval", h.raw.Interval, defaultInterval, minInterval, maxInterval)
	if h.out.Interval == 0 {
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
		h.r.field(h.p.key("path"), "%s does not begin with /", quote(h.out.Path))
	}
	h.out.Host = h.word("host", h.raw.Host, "")
	var err error
	if h.out.Status, err = lb.ParseStatusSet(h.text(h.raw.Status, "200-299")); err != nil {
		h.r.field(h.p.key("status"), "%s is not codes in 100..599 such as 200-299,304", quote(*h.raw.Status))
	}
	h.out.Body, h.out.BodyRegexp = h.text(h.raw.Body, ""), h.text(h.raw.BodyRegexp, "")
	if _, err := regexp.Compile(h.out.BodyRegexp); err != nil {
		h.r.field(h.p.key("body_regexp"), "%s is no regular expression (RE2): %s", quote(h.out.BodyRegexp), err)
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
	h.out.Record = h.oneOf("record", h.raw.Record, "A", lb.DNSRecords())
	h.out.RCode = h.oneOf("rcode", h.raw.RCode, "NOERROR", lb.DNSRCodes())
	if h.raw.Query == nil {
		h.r.missing(h.p.key("query"), "the name to ask for")
	} else if !isDNSName(h.out.Query) {
		h.r.field(h.p.key("query"), "%s is no DNS name", quote(h.out.Query))
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
		[]string{string(lb.VerifyFull), string(lb.VerifyChain), string(lb.VerifyNone)}))
	h.out.WarnBefore = h.duration("warn_before", h.raw.WarnBefore, defaultWarn, 0, 10*365*24*time.Hour)
	if h.raw.CA == nil {
		return
	}
	var err error
	if h.out.CA, err = readCA(*h.raw.CA); err != nil {
		h.r.field(h.p.key("ca"), "%s %s", quote(*h.raw.CA), err)
	}
}

// readCA reads a file of certificates. Its errors continue a sentence that
// begins with the file's name.
func readCA(name string) (string, error) {
	if !filepath.IsAbs(name) {
		return "", fmt.Errorf("is not an absolute path")
	}
	f, err := os.Open(name)
	if err != nil {
		return "", fmt.Errorf("cannot be read: %w", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxCA))
	if err != nil {
		return "", fmt.Errorf("cannot be read: %w", err)
	}
	if !x509.NewCertPool().AppendCertsFromPEM(text) {
		return "", fmt.Errorf("has no PEM certificate")
	}
	return string(text), nil
}

func (h *healthReader) text(raw *string, otherwise string) string {
	if raw == nil {
		return otherwise
	}
	return *raw
}

// word is text that goes into a request line or header: without blanks and
// control characters.
func (h *healthReader) word(key string, raw *string, otherwise string) string {
	s := h.text(raw, otherwise)
	if raw != nil && (s == "" || strings.ContainsFunc(s, func(c rune) bool { return c <= ' ' || c >= 0x7f })) {
		h.r.field(h.p.key(key), "%s is not ASCII text without blanks", quote(s))
	}
	return s
}

// bytes reads text or, after "hex:", hexadecimal digits.
func (h *healthReader) bytes(key string, raw *string) string {
	s := h.text(raw, "")
	if digits, isHex := strings.CutPrefix(s, "hex:"); isHex {
		b, err := hex.DecodeString(digits)
		if err != nil {
			h.r.field(h.p.key(key), "%s has no hexadecimal bytes after hex:", quote(s))
		}
		s = string(b)
	}
	if len(s) > maxPayload {
		h.r.field(h.p.key(key), "%d bytes are more than there can be (%d)", len(s), maxPayload)
	}
	return s
}

func (h *healthReader) oneOf(key string, raw *string, otherwise string, allowed []string) string {
	s := h.text(raw, otherwise)
	if !slices.Contains(allowed, s) {
		h.r.field(h.p.key(key), "%s is not one of %s", quote(s), strings.Join(allowed, ", "))
	}
	return s
}

func (h *healthReader) number(key string, raw *int64, otherwise int, least, most int64) int {
	if raw == nil {
		return otherwise
	}
	return int(inRange(h.r, h.p.key(key), *raw, least, most))
}

// duration is 0 if there was a fault.
func (h *healthReader) duration(key string, raw *time.Duration, otherwise, least, most time.Duration) time.Duration {
	if raw == nil {
		return otherwise
	}
	if *raw < least || *raw > most {
		h.r.field(h.p.key(key), "%s is not in %s..%s", *raw, least, most)
		return 0
	}
	return *raw
}

// checkHealthPorts reports checks that have no port to go to.
func checkHealthPorts(r *report, c lb.Config) {
	every := map[string]lb.VIP{} // pools of services on every port
	for _, s := range c.Services {
		if s.VIP.Port == 0 {
			every[s.Pool] = s.VIP
		}
	}
	for i, p := range c.Pools {
		vip, is := every[p.Name]
		for j, b := range p.Backends {
			h := p.HealthOf(b)
			if !is || b.Port != 0 || h.Port != 0 || !h.Enabled() || h.Type == lb.HealthExec {
				continue
			}
			at := top.key("pools").item(i).key("health")
			if b.Health != nil {
				at = top.key("pools").item(i).key("backends").item(j).key("health")
			}
			r.missing(at.key("port"), fmt.Sprintf("needed, as VIP %s is on every port", vip))
			break
		}
	}
}

// checkHealthVia reports checks by VIPs where no VIP can be probed, and those
// of which a probe by VIP would leave out what they ask.
func checkHealthVia(r *report, c lb.Config) {
	keeps := map[string]bool{}
	for _, s := range c.Services {
		keeps[s.Pool] = keeps[s.Pool] || s.Forward.KeepsPacket() && s.VIP.Proto == lb.TCP
	}
	for i, p := range c.Pools {
		for j, b := range p.Backends {
			h := p.HealthOf(b)
			wrong := viaFault(h, keeps[p.Name])
			if wrong == "" {
				continue
			}
			at := top.key("pools").item(i).key("health")
			if b.Health != nil {
				at = top.key("pools").item(i).key("backends").item(j).key("health")
			}
			r.field(at.key("via"), "%s %s", quote(string(h.Via)), wrong)
			break
		}
	}
}

// viaFault says what is wrong with probes by VIP of this check, or nothing.
func viaFault(h lb.Health, possible bool) string {
	switch {
	case h.Via != lb.ViaVIP && h.Via != lb.ViaBoth:
		return ""
	case !possible:
		return "needs a service of the pool that is forwarded by dsr, ipip or gue over TCP"
	case h.Via == lb.ViaVIP && !h.OnlyConnects():
		return "finds out no more than that a connection is accepted, and this check asks more: say both, or type tcp without send and expect"
	}
	return ""
}
