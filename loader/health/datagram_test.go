package health

import (
	"bytes"
	"encoding/binary"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/dns/dnsmessage"

	"weir/loader/lb"
)

func TestUDP(t *testing.T) {
	for _, c := range []struct {
		name   string
		answer func(got []byte, reply func([]byte))
		expect string
		want   Reason
		text   string
	}{
		{"any answer", func(_ []byte, reply func([]byte)) { reply([]byte("x")) }, "", "", ""},
		{"an empty answer", func(_ []byte, reply func([]byte)) { reply(nil) }, "", "", ""},
		{"echo", func(got []byte, reply func([]byte)) { reply(got) }, "\x00ping", "", ""},
		{"other answer", func(_ []byte, reply func([]byte)) { reply([]byte("busy")) }, "\x00ping", ReasonContent, `not in "busy"`},
		{"huge answer", func(_ []byte, reply func([]byte)) { reply(bytes.Repeat([]byte("x"), 65000)) }, "ping", ReasonContent, ""},
		{"silence", func([]byte, func([]byte)) {}, "", ReasonTimeout, "await an answer: no answer in time"},
	} {
		t.Run(c.name, func(t *testing.T) {
			leavesNothing(t)
			h := lb.Health{Type: lb.HealthUDP, Send: "\x00ping\xff", Expect: c.expect}
			if c.want == ReasonTimeout {
				h.Timeout = probeTimeout
			}
			_, err := probe(t, h, serveUDP(t, c.answer))
			wantResult(t, err, c.want, c.text)
		})
	}
	_, err := probe(t, lb.Health{Type: lb.HealthUDP, Send: "x"}, nobodyUDP(t))
	wantResult(t, err, ReasonRefused, "refused")
}

func nobodyUDP(t *testing.T) netip.AddrPort {
	t.Helper()
	c, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	return addrPort(t, c.LocalAddr().String())
}

func dnsHealth() lb.Health {
	return lb.Health{Type: lb.HealthDNS, Query: "Web.Example", Record: "A", RCode: "NOERROR"}
}

// reply is an answer to a query, changed by change.
func dnsReply(t testing.TB, query []byte, change func(*dnsmessage.Message)) []byte {
	t.Helper()
	var m dnsmessage.Message
	if err := m.Unpack(query); err != nil {
		t.Error(err)
		return nil
	}
	m.Response = true
	m.Answers = []dnsmessage.Resource{{
		Header: dnsmessage.ResourceHeader{Name: m.Questions[0].Name, Class: dnsmessage.ClassINET, TTL: 1},
		Body:   &dnsmessage.AResource{A: [4]byte{192, 0, 2, 1}},
	}}
	if change != nil {
		change(&m)
	}
	b, err := m.Pack()
	if err != nil {
		t.Error(err)
	}
	return b
}

func TestDNS(t *testing.T) {
	other := dnsmessage.MustNewName("other.example.")
	for _, c := range []struct {
		name   string
		change func(*dnsmessage.Message)
		raw    func(good []byte) [][]byte // datagrams sent instead; nil: the good one
		want   Reason
		text   string
	}{
		{"answer", nil, nil, "", ""},
		{"name in other case", func(m *dnsmessage.Message) { m.Questions[0].Name = dnsmessage.MustNewName("wEB.eXAMPLE.") }, nil, "", ""},
		{"by an alias", func(m *dnsmessage.Message) {
			alias := dnsmessage.Resource{Header: dnsmessage.ResourceHeader{Name: m.Questions[0].Name, Class: dnsmessage.ClassINET},
				Body: &dnsmessage.CNAMEResource{CNAME: other}}
			m.Answers = slices.Insert(m.Answers, 0, alias)
		}, nil, "", ""},
		{"cut short, as it should be", func(m *dnsmessage.Message) { m.Truncated, m.Answers = true, nil }, nil, "", ""},
		{"after strays", nil, func(good []byte) [][]byte {
			stranger := bytes.Clone(good)
			binary.BigEndian.PutUint16(stranger, binary.BigEndian.Uint16(good)+1)
			return [][]byte{nil, []byte("garbage"), stranger, good[:12], good}
		}, "", ""},

		{"SERVFAIL", func(m *dnsmessage.Message) { m.RCode = dnsmessage.RCodeServerFailure }, nil, ReasonStatus, "SERVFAIL is not NOERROR"},
		{"REFUSED", func(m *dnsmessage.Message) { m.RCode = dnsmessage.RCodeRefused }, nil, ReasonStatus, "REFUSED is not NOERROR"},
		{"no data", func(m *dnsmessage.Message) { m.Answers = nil }, nil, ReasonContent, "no record"},
		{"alias to nowhere", func(m *dnsmessage.Message) {
			m.Answers[0].Body = &dnsmessage.CNAMEResource{CNAME: other}
		}, nil, ReasonContent, "no record"},
		{"of another question", func(m *dnsmessage.Message) { m.Questions[0].Name = other }, nil, ReasonTimeout, ""},
		{"no response", func(m *dnsmessage.Message) { m.Response = false }, nil, ReasonTimeout, ""},
		{"records cut off", nil, func(good []byte) [][]byte { return [][]byte{good[:len(good)-9]} }, ReasonMalformed, "read the answer"},
		{"more records than bytes", nil, func(good []byte) [][]byte {
			good[6], good[7] = 0xff, 0xff
			return [][]byte{slices.Concat(good[:28+1], good[29:29+4])}
		}, ReasonMalformed, ""},
		{"strays for ever", nil, func([]byte) [][]byte { return slices.Repeat([][]byte{[]byte("garbage")}, 100) }, ReasonMalformed, "16 datagrams"},
		{"huge", nil, func(good []byte) [][]byte { return [][]byte{append(good, make([]byte, 60000)...)} }, "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			leavesNothing(t)
			to := serveUDP(t, func(got []byte, reply func([]byte)) {
				good := dnsReply(t, got, c.change)
				if c.raw == nil {
					reply(good)
					return
				}
				for _, b := range c.raw(good) {
					reply(b)
				}
			})
			h := dnsHealth()
			if c.want == ReasonTimeout {
				h.Timeout = probeTimeout
			}
			_, err := probe(t, h, to)
			wantResult(t, err, c.want, c.text)
		})
	}
}

func TestDNSOpens(t *testing.T) {
	for _, record := range lb.DNSRecords() {
		for _, rcode := range lb.DNSRCodes() {
			h := dnsHealth()
			h.Record, h.RCode = record, rcode
			if _, err := newDNS(Target{Health: h}); err != nil {
				t.Error(err)
			}
		}
	}
	for name, ok := range map[string]bool{
		".": true, "example": true, "a.example.": true, strings.Repeat("a", 63) + ".example": true,
		"": false, "a..b": false, strings.Repeat("a", 64): false, strings.Repeat("abcdefg.", 40): false,
	} {
		h := dnsHealth()
		h.Query = name
		if _, err := newDNS(Target{Health: h}); (err == nil) != ok {
			t.Errorf("name %q: %v", name, err)
		}
	}
}

func FuzzDNSAnswer(f *testing.F) {
	checker, err := newDNS(Target{Health: dnsHealth()})
	if err != nil {
		f.Fatal(err)
	}
	c := checker.(dns)
	query, err := c.query(7)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(query)
	f.Add(dnsReply(f, query, nil))
	f.Add(dnsReply(f, query, func(m *dnsmessage.Message) { m.RCode = dnsmessage.RCodeNameError }))
	f.Fuzz(func(t *testing.T, b []byte) {
		answers, err := c.judge(b, 7)
		if answers && err == nil && len(b) < len(query) {
			t.Errorf("%x was taken for an answer", b)
		}
	})
}
