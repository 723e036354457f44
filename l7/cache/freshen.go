package cache

import (
	"bytes"
	"time"

	"weir/l7/exchange"
	"weir/l7/validator"
)

// updates reports whether a 304, or the answer to a HEAD, is about this entry
// (RFC 9111, 4.3.4): its validators, if it has any, are those of the entry. A
// 304 without any is the answer to the one tag that was sent.
func (e *entry) updates(h *exchange.Header) bool {
	got := validator.Read(h)
	switch {
	case got.ETag != nil && !validator.IsWeak(got.ETag):
		return e.of.ETag != nil && validator.Strong(got.ETag, e.of.ETag)
	case got.ETag != nil:
		return e.of.ETag != nil && validator.Weak(got.ETag, e.of.ETag)
	case !got.Modified.IsZero():
		return got.Modified.Equal(e.of.Modified)
	}
	return true
}

// freshened is the entry with the fields of a newer answer in place of its own
// (RFC 9111, 3.2) and a lease by them. storable is false if it may be used for
// this request only. It is nil if its header got too long.
func (p *Policy) freshened(e *entry, newer *exchange.Header, authorized bool, asked, responded time.Time) (n *entry, storable bool) {
	r := exchange.Response{Status: e.status, Length: e.length}
	var old exchange.Header
	e.appendTo(&old)
	for _, f := range old.Fields() {
		// A Date that is not new would make the entry as old as before.
		if keptBy304(f.ID) || f.ID != exchange.Date && newer.GetText(string(f.Text)) == nil {
			r.Header.Append(f.ID, f.Text, f.Value)
		}
	}
	for _, f := range newer.Fields() {
		if !keptBy304(f.ID) {
			r.Header.Append(f.ID, f.Text, f.Value)
		}
	}
	j, storable := p.judge(&r, authorized, asked, responded)
	if !storable {
		j.lease.responded = responded.UnixNano()
	}
	n = &entry{lease: j.lease, status: e.status, extra: e.extra, length: e.length, body: e.body, vary: e.vary, tags: e.tags}
	if tags := p.readTags(newer); tags != nil {
		n.tags = tags
	}
	n = n.finish(p.head(&r, j))
	return n, storable && n != nil
}

// keptBy304 are fields that say how the stored bytes are to be read; a 304 does
// not replace these bytes.
func keptBy304(n exchange.Name) bool {
	switch n {
	case exchange.ContentEncoding, exchange.ContentLength, exchange.ContentRange, exchange.TransferEncoding:
		return true
	}
	return false
}

// sameAsHead reports whether the answer to a HEAD describes the entry
// (RFC 9111, 4.3.5).
func (e *entry) sameAsHead(r *exchange.Response) bool {
	got := validator.Read(&r.Header)
	if got.ETag != nil && !bytes.Equal(got.ETag, e.of.ETag) || !got.Modified.IsZero() && !got.Modified.Equal(e.of.Modified) {
		return false
	}
	return r.Length == exchange.Unknown || r.Length == e.length
}

func dateOf(ns int64) []byte { return validator.AppendDate(nil, time.Unix(0, ns)) }
