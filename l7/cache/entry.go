package cache

import (
	"bytes"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"

	"weir/l7/exchange"
	"weir/l7/validator"
)

// entry is one stored answer. It does not change, but for what is atomic.
type entry struct {
	lease
	status int
	head   []byte  // status line and fields as they are sent, without Content-Length and Age
	fields []field // where the fields are in head
	body   []byte  // set before the entry is shared
	of     validator.Of
	vary   []selecting
	extra  string   // the key's fields and cookies
	tags   []string // to purge by
	length int64    // of body; exchange.Unknown while that is not known

	invalid    atomic.Bool // to be validated before it is used
	refreshing atomic.Bool // somebody validates it in the background
	gone       atomic.Bool // replaced or purged: not to be written to disk
}

// field is a line of head, as offsets.
type field struct {
	id                exchange.Name
	name              uint8
	start, value, end uint16
}

// mostHead is the length of a head that offsets can be noted of; an answer
// with a longer one is not stored.
const mostHead = 1<<16 - 1

// overhead is what an entry costs besides its bytes, rounded up: the struct,
// its place in the store and in the index of tags.
const overhead = 512

// weight is what an entry counts for against the budget, in bytes.
func (e *entry) weight() int64 {
	n := overhead + len(e.head) + cap(e.body) + 10*len(e.fields) + len(e.extra)
	for i := range e.vary {
		n += 40 + len(e.vary[i].name) + len(e.vary[i].value)
	}
	for _, tag := range e.tags {
		n += 96 + len(tag)
	}
	return int64(n)
}

// newEntry makes an entry without its body of an answer that was judged. It is
// nil if the header is too long.
func (p *Policy) newEntry(x *exchange.Exchange, r *exchange.Response, j judged, extra []byte) *entry {
	e := &entry{lease: j.lease, status: r.Status, extra: string(extra), length: r.Length}
	e.vary = selectBy(&x.Request.Header, &r.Header)
	e.tags = p.readTags(&r.Header)
	return e.finish(p.head(r, j))
}

// head writes what is stored of an answer's header.
func (p *Policy) head(r *exchange.Response, j judged) headBuilder {
	b := newHead(r.Status)
	for _, f := range r.Header.Fields() {
		if p.stores(&f, j.withheld) {
			b.add(f.ID, f.Text, f.Value)
		}
	}
	if !r.Header.Has(exchange.Date) { // RFC 9110, 6.6.1
		b.add(exchange.Date, []byte("Date"), dateOf(j.responded))
	}
	return b
}

// finish puts the head in its place and reads the validators from there.
func (e *entry) finish(b headBuilder) *entry {
	if len(b.head) > mostHead || b.broken {
		return nil
	}
	e.head, e.fields = b.head, b.fields
	var h exchange.Header
	e.appendTo(&h)
	e.of = validator.Read(&h)
	return e
}

// stores reports whether a field of an answer is kept (RFC 9111, 3.1).
func (p *Policy) stores(f *exchange.Field, withheld [][]byte) bool {
	switch f.ID {
	case exchange.Age, exchange.ContentLength, exchange.Connection, exchange.KeepAlive, exchange.TransferEncoding,
		exchange.Trailer, exchange.Upgrade, exchange.ProxyConnection, exchange.ProxyAuthenticate,
		exchange.ProxyAuthorization, exchange.SetCookie:
		return false
	case exchange.Other:
		if strings.EqualFold(string(f.Text), "Proxy-Authentication-Info") {
			return false
		}
	}
	if names(withheld, string(f.Text)) {
		return false
	}
	return !p.isTag(f)
}

// own are the fields of an answer that only the client gets that it was made
// for, copied.
func (p *Policy) own(h *exchange.Header) []exchange.Field {
	d, _ := p.directives(h)
	var all []exchange.Field
	for _, f := range h.Fields() {
		if f.ID != exchange.Age && f.ID != exchange.ContentLength && !p.isTag(&f) && !p.stores(&f, d.withheld) {
			all = append(all, exchange.Field{ID: f.ID, Text: bytes.Clone(f.Text), Value: bytes.Clone(f.Value)})
		}
	}
	return all
}

func (p *Policy) isTag(f *exchange.Field) bool {
	for _, name := range p.Tags {
		if strings.EqualFold(name, string(f.Text)) {
			return true
		}
	}
	return false
}

// readTags reads words between spaces or commas.
func (p *Policy) readTags(h *exchange.Header) []string {
	var tags []string
	for _, name := range p.Tags {
		for value := range h.Values(name) {
			tags = append(tags, strings.FieldsFunc(string(value), func(c rune) bool { return c == ' ' || c == '\t' || c == ',' })...)
		}
	}
	return tags[:min(len(tags), mostTags)]
}

// mostTags is how many tags of an answer count.
const mostTags = 128

// headBuilder writes a head and notes its fields.
type headBuilder struct {
	head   []byte
	fields []field
	broken bool // something does not fit
}

func newHead(status int) headBuilder {
	b := headBuilder{head: append([]byte("HTTP/1.1 "), strconv.Itoa(status)...)}
	b.head = append(append(append(b.head, ' '), http.StatusText(status)...), "\r\n"...)
	return b
}

func (b *headBuilder) add(id exchange.Name, name, value []byte) {
	start := len(b.head)
	b.head = append(append(append(append(b.head, name...), ": "...), value...), "\r\n"...)
	if len(b.head) > mostHead || len(name) > 255 {
		b.broken = true
		return
	}
	at := start + len(name) + 2
	b.fields = append(b.fields, field{id, uint8(len(name)), uint16(start), uint16(at), uint16(at + len(value))})
}

// appendTo adds the stored fields to a header. Their bytes are the entry's.
func (e *entry) appendTo(h *exchange.Header) {
	for i := range e.fields {
		f := &e.fields[i]
		h.Append(f.id, e.head[f.start:f.start+uint16(f.name)], e.head[f.value:f.end])
	}
}

// matches reports whether the request chose the same answer.
func (e *entry) matches(h *exchange.Header, extra []byte) bool {
	if e.extra != string(extra) {
		return false
	}
	for i := range e.vary {
		if !e.vary[i].matches(h) {
			return false
		}
	}
	return true
}

// sameChoice reports whether two entries were chosen by the same requests.
func (e *entry) sameChoice(o *entry) bool {
	if e.extra != o.extra || len(e.vary) != len(o.vary) {
		return false
	}
	for i := range e.vary {
		if e.vary[i] != o.vary[i] {
			return false
		}
	}
	return true
}

// whole is a copy with its body, as others still read e.
func (e *entry) whole(body []byte) *entry {
	if cap(body)-len(body) > len(body)/4 { // what is stored has no room to spare
		body = bytes.Clone(body)
	}
	return &entry{
		lease: e.lease, status: e.status, head: e.head, fields: e.fields, of: e.of, vary: e.vary,
		extra: e.extra, tags: e.tags, length: int64(len(body)), body: body[:len(body):cap(body)],
	}
}
