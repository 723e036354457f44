package health

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"

	"golang.org/x/net/dns/dnsmessage"
)

// dns asks one question over UDP.
type dns struct {
	to       netip.AddrPort
	question dnsmessage.Question
	rcode    dnsmessage.RCode
}

// maxStrays is how many datagrams that answer something else are skipped.
const maxStrays = 16

func newDNS(t Target) (Checker, error) {
	record, known := recordTypes()[t.Health.Record]
	if !known {
		return nil, fmt.Errorf("%q is no type of record that can be asked for", t.Health.Record)
	}
	rcode, known := rcodes()[t.Health.RCode]
	if !known {
		return nil, fmt.Errorf("%q is no RCODE that can be awaited", t.Health.RCode)
	}
	name, err := dnsName(t.Health.Query)
	if err != nil {
		return nil, err
	}
	return dns{t.Address, dnsmessage.Question{Name: name, Type: record, Class: dnsmessage.ClassINET}, rcode}, nil
}

// recordTypes are those of lb.DNSRecords.
func recordTypes() map[string]dnsmessage.Type {
	return map[string]dnsmessage.Type{
		"A": dnsmessage.TypeA, "AAAA": dnsmessage.TypeAAAA, "CNAME": dnsmessage.TypeCNAME, "MX": dnsmessage.TypeMX,
		"NS": dnsmessage.TypeNS, "PTR": dnsmessage.TypePTR, "SOA": dnsmessage.TypeSOA, "SRV": dnsmessage.TypeSRV,
		"TXT": dnsmessage.TypeTXT,
	}
}

// rcodes are those of lb.DNSRCodes.
func rcodes() map[string]dnsmessage.RCode {
	return map[string]dnsmessage.RCode{
		"NOERROR": dnsmessage.RCodeSuccess, "NXDOMAIN": dnsmessage.RCodeNameError, "REFUSED": dnsmessage.RCodeRefused,
	}
}

// dnsName is a name in full; labels have 1 to 63 bytes, all together at most
// 254 (RFC 1035, 2.3.4).
func dnsName(s string) (dnsmessage.Name, error) {
	full := strings.TrimSuffix(s, ".") + "."
	name, err := dnsmessage.NewName(full)
	if s == "" {
		return name, errors.New("there is no name to ask for")
	}
	if err != nil || len(full) > 254 {
		return name, fmt.Errorf("%s is too long for a DNS name", excerpt([]byte(s)))
	}
	labels := strings.Split(strings.TrimSuffix(full, "."), ".")
	if full != "." && slices.ContainsFunc(labels, func(l string) bool { return l == "" || len(l) > 63 }) {
		return name, fmt.Errorf("%s is no DNS name", excerpt([]byte(s)))
	}
	return name, nil
}

func (c dns) Check(ctx context.Context) (Report, error) {
	id := uint16(rand.Uint32())
	query, err := c.query(id)
	if err != nil {
		return Report{}, failed("make the question", err, ReasonLocal)
	}
	conn, err := dial(ctx, "udp", c.to)
	if err != nil {
		return Report{}, err
	}
	defer conn.Close()
	if _, err := conn.Write(query); err != nil {
		return Report{}, failed("send", err, ReasonUnreachable)
	}
	return Report{}, c.await(conn, id)
}

func (c dns) query(id uint16) ([]byte, error) {
	m := dnsmessage.Message{
		Header:    dnsmessage.Header{ID: id, RecursionDesired: true},
		Questions: []dnsmessage.Question{c.question},
	}
	return m.Pack()
}

// await takes the first datagram that answers the question. Others are
// skipped: anybody can send them.
func (c dns) await(conn *conn, id uint16) error {
	for range maxStrays {
		got, err := receive(conn)
		if err != nil {
			return err
		}
		if answers, err := c.judge(got, id); answers {
			return err
		}
	}
	return failedf(ReasonMalformed, "await an answer", "%d datagrams came that answer another question", maxStrays)
}

// judge says whether a datagram answers the question, and what is wrong with
// the answer.
func (c dns) judge(b []byte, id uint16) (answers bool, err error) {
	var p dnsmessage.Parser
	h, err := p.Start(b)
	if err != nil || h.ID != id || !h.Response {
		return false, nil
	}
	q, err := p.Question()
	if err != nil || !sameQuestion(q, c.question) {
		return false, nil
	}
	switch {
	case h.RCode != c.rcode:
		return true, failedf(ReasonStatus, "answer", "%s is not %s", rcodeName(h.RCode), rcodeName(c.rcode))
	case h.RCode != dnsmessage.RCodeSuccess || h.Truncated:
		return true, nil
	}
	return true, c.findRecord(&p)
}

// findRecord looks for a record of the type asked for.
func (c dns) findRecord(p *dnsmessage.Parser) error {
	if err := p.SkipAllQuestions(); err != nil {
		return failed("read the answer", err, ReasonMalformed)
	}
	for {
		h, err := p.AnswerHeader()
		if errors.Is(err, dnsmessage.ErrSectionDone) {
			return failedf(ReasonContent, "answer", "there is no record of the type asked for")
		}
		if err != nil {
			return failed("read the answer", err, ReasonMalformed)
		}
		if h.Type == c.question.Type {
			return nil
		}
		if err := p.SkipAnswer(); err != nil {
			return failed("read the answer", err, ReasonMalformed)
		}
	}
}

// sameQuestion compares names as DNS does, without case (RFC 4343).
func sameQuestion(a, b dnsmessage.Question) bool {
	return a.Type == b.Type && a.Class == b.Class && strings.EqualFold(a.Name.String(), b.Name.String())
}

func rcodeName(c dnsmessage.RCode) string {
	for name, code := range rcodes() {
		if code == c {
			return name
		}
	}
	if c == dnsmessage.RCodeServerFailure {
		return "SERVFAIL"
	}
	return fmt.Sprintf("RCODE %d", c)
}
