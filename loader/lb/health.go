package lb

import (
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// HealthType is what a health check speaks.
type HealthType string

// Health check types. The zero value is no check.
const (
	HealthNone  HealthType = ""
	HealthTCP   HealthType = "tcp"   // a connection is accepted
	HealthHTTP  HealthType = "http"  // HTTP/1.1
	HealthHTTPS HealthType = "https" // HTTP/1.1 over TLS
	HealthH2    HealthType = "h2"    // HTTP/2 over TLS
	HealthH2C   HealthType = "h2c"   // HTTP/2 without TLS, by prior knowledge
	HealthGRPC  HealthType = "grpc"  // grpc.health.v1 without TLS
	HealthGRPCS HealthType = "grpcs" // grpc.health.v1 over TLS
	HealthUDP   HealthType = "udp"   // a datagram is answered
	HealthDNS   HealthType = "dns"   // a question is answered, over UDP
	HealthTLS   HealthType = "tls"   // a handshake completes
	HealthExec  HealthType = "exec"  // a command of this host ends with 0
)

// HealthTypes are all of them, in the order of the documentation.
func HealthTypes() []HealthType {
	return []HealthType{HealthTCP, HealthHTTP, HealthHTTPS, HealthH2, HealthH2C, HealthGRPC, HealthGRPCS,
		HealthUDP, HealthDNS, HealthTLS, HealthExec}
}

// HealthTypeNames lists the types for people.
func HealthTypeNames() string {
	var names []string
	for _, t := range HealthTypes() {
		names = append(names, string(t))
	}
	last := len(names) - 1
	return strings.Join(names[:last], ", ") + " or " + names[last]
}

// ParseHealthType reads one of HealthTypeNames.
func ParseHealthType(s string) (HealthType, error) {
	if t := HealthType(s); slices.Contains(HealthTypes(), t) {
		return t, nil
	}
	return HealthNone, fmt.Errorf("health check type %q is not %s", s, HealthTypeNames())
}

// TLS reports whether the check makes a TLS handshake.
func (t HealthType) TLS() bool {
	return t == HealthTLS || t == HealthHTTPS || t == HealthH2 || t == HealthGRPCS
}

// HTTP reports whether the check asks for a path.
func (t HealthType) HTTP() bool {
	return t == HealthHTTP || t == HealthHTTPS || t == HealthH2 || t == HealthH2C
}

// GRPC reports whether the check speaks grpc.health.v1.
func (t HealthType) GRPC() bool { return t == HealthGRPC || t == HealthGRPCS }

// Health says how a backend's health is checked. What a type does not use is
// zero.
type Health struct {
	Type         HealthType
	Via          HealthVia
	Port         uint16 // 0: the port that traffic goes to
	Interval     time.Duration
	FastInterval time.Duration // while results contradict the state
	Timeout      time.Duration
	Rise, Fall   int // results in a row that change the state
	Jitter       int // percent of the interval, both ways together

	Method     string
	Path       string
	Host       string // empty: the address and port
	Status     StatusSet
	Body       string // text that the body contains
	BodyRegexp string // RE2 that matches somewhere in the body

	Send   string // bytes of a udp or tcp check
	Expect string // bytes that the answer contains; empty: any answer

	Query  string // name that a dns check asks for
	Record string // type of record, such as A
	RCode  string // such as NOERROR

	Service string // that a grpc check asks for; empty: the server as a whole

	ServerName string // of the certificate; empty: the address
	CA         string // PEM certificates; empty: those of the system
	Verify     TLSVerify
	WarnBefore time.Duration // of the certificate's end

	Command []string
}

// HealthVia is where probes are addressed to.
type HealthVia string

// Ways of probes. The zero value is a choice by the pool's services and the type.
const (
	ViaDefault HealthVia = ""
	ViaAddress HealthVia = "address" // the backend's own
	ViaVIP     HealthVia = "vip"     // each VIP of dsr, ipip and gue over TCP: is a connection accepted?
	ViaBoth    HealthVia = "both"
)

// Equal reports whether both check the same in the same way.
func (h Health) Equal(o Health) bool { return reflect.DeepEqual(h, o) }

// OnlyConnects reports whether the check is content with an accepted TCP
// connection.
func (h Health) OnlyConnects() bool { return h.Type == HealthTCP && h.Send == "" && h.Expect == "" }

// Enabled reports whether there is a check at all.
func (h Health) Enabled() bool { return h.Type != HealthNone }

// DNSRecords are the types of records that a dns check can ask for.
func DNSRecords() []string {
	return []string{"A", "AAAA", "CNAME", "MX", "NS", "PTR", "SOA", "SRV", "TXT"}
}

// DNSRCodes are the RCODEs that a dns check can await.
func DNSRCodes() []string { return []string{"NOERROR", "NXDOMAIN", "REFUSED"} }

// TLSVerify is what a certificate is held to.
type TLSVerify string

// Verifications.
const (
	VerifyFull  TLSVerify = "full"  // chain, validity and name
	VerifyChain TLSVerify = "chain" // chain and validity
	VerifyNone  TLSVerify = "none"
)

// ParseTLSVerify reads full, chain or none.
func ParseTLSVerify(s string) (TLSVerify, error) {
	switch v := TLSVerify(s); v {
	case VerifyFull, VerifyChain, VerifyNone:
		return v, nil
	}
	return "", fmt.Errorf("verification %q is not full, chain or none", s)
}

// StatusSet is a set of HTTP status codes, 100 to 599: a bit each. It is
// comparable.
type StatusSet [8]uint64

const (
	minStatus = 100
	maxStatus = 599
)

// ParseStatusSet reads codes and ranges such as "200-299,304".
func ParseStatusSet(s string) (StatusSet, error) {
	var set StatusSet
	for part := range strings.SplitSeq(s, ",") {
		first, last, isRange := strings.Cut(strings.TrimSpace(part), "-")
		if !isRange {
			last = first
		}
		from, err1 := strconv.Atoi(first)
		to, err2 := strconv.Atoi(last)
		if err1 != nil || err2 != nil || from < minStatus || to > maxStatus || from > to {
			return StatusSet{}, fmt.Errorf("status %q is not codes in %d..%d such as 200-299,304", s, minStatus, maxStatus)
		}
		for code := from; code <= to; code++ {
			set[(code-minStatus)/64] |= 1 << ((code - minStatus) % 64)
		}
	}
	return set, nil
}

// Has reports whether a code is in the set; codes outside 100..599 never are.
func (s StatusSet) Has(code int) bool {
	return code >= minStatus && code <= maxStatus && s[(code-minStatus)/64]>>((code-minStatus)%64)&1 == 1
}

func (s StatusSet) String() string {
	var parts []string
	for code := minStatus; code <= maxStatus; code++ {
		if !s.Has(code) {
			continue
		}
		from := code
		for s.Has(code + 1) {
			code++
		}
		if from == code {
			parts = append(parts, strconv.Itoa(from))
		} else {
			parts = append(parts, fmt.Sprintf("%d-%d", from, code))
		}
	}
	return strings.Join(parts, ",")
}
