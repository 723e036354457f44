package static

import (
	"net/http"
	"time"

	"weir/l7/coding"
	"weir/l7/exchange"
	"weir/l7/prebuilt"
	"weir/l7/ranges"
	"weir/l7/validator"
)

// send answers with a file in the best coding. Responses hold on to it as long
// as they need it.
func (s *Files) send(x *exchange.Exchange, f *file) error {
	if len(s.Precompressed) > 0 && x.Request.Header.Has(exchange.AcceptEncoding) {
		f = f.best(coding.Read(&x.Request.Header), s.Precompressed)
	}
	r, q := &x.Response, &x.Request.Header
	r.Status = http.StatusOK
	for _, field := range f.fields.Fields() {
		r.Header.Append(field.ID, field.Text, field.Value)
	}
	date := s.dates.At(x.Began)
	r.Header.AddKnown(exchange.Date, date)
	if f.content != nil && !q.Has(exchange.Range) && !validator.Conditional(q) {
		s.messages.Take(x).Build(x, f.head, f.content, prebuilt.Line{Name: "Date", Value: date})
		return nil
	}
	of := validator.Of{ETag: f.etag, Modified: time.Unix(f.modified/1e9, 0), Date: x.Began}
	switch of.Evaluate(q, true) {
	case validator.NotModified:
		r.Status = http.StatusNotModified
		r.Header.DelKnown(exchange.ContentType)
		r.Header.DelKnown(exchange.ContentEncoding)
		r.Length = f.size
		return nil
	case validator.Failed:
		x.Fail(http.StatusPreconditionFailed, "")
		return nil
	}
	open := func(part ranges.Range) (exchange.Body, error) { return f.part(part) }
	if !of.RangeHolds(q) {
		return s.whole(x, f)
	}
	return ranges.Respond(x, f.size, open)
}

// whole answers without regard to Range.
func (s *Files) whole(x *exchange.Exchange, f *file) (err error) {
	x.Response.Length = f.size
	if f.size > 0 && string(x.Request.Method) == http.MethodGet {
		x.Response.Body, err = f.part(ranges.Range{Length: f.size})
	}
	return err
}

// best is the file or one of its precompressed ones.
func (f *file) best(accepted coding.Accepted, offers []coding.Coding) *file {
	var there [coding.Codings]coding.Coding
	n := 0
	for _, c := range offers {
		if f.coded[c] != nil {
			there[n] = c
			n++
		}
	}
	if c := accepted.Best(there[:n]); c != coding.Identity {
		return f.coded[c]
	}
	return f
}
