// Package compress compresses answers on the way to clients that accept it.
//
// It belongs inside of a cache: what it makes is stored, told apart by Vary, and
// a hit costs no compression. Compressing changes the bytes, so a strong entity
// tag becomes weak, and what else is true of the plain bytes only is taken away.
package compress

import (
	"bytes"
	"fmt"
	"net/http"
	"strings"
	"sync"

	"weir/l7/coding"
	"weir/l7/exchange"
	"weir/l7/validator"
)

// Options say what is compressed. The zero value is useful.
type Options struct {
	Codings []coding.Coding // in the order of preference; nil: zstd, br, gzip
	Types   []string        // media types; * at the end stands for any rest; nil: DefaultTypes
	MinSize int64           // bytes; shorter answers of known length are sent as they are; 0: 1 KiB
	Level   int             // 1, fast, to 9, small; 0: 4
	// Cookies compresses answers that set cookies too. Such an answer often holds
	// a secret, as a token against forgery, beside what the request said: its
	// compressed length then tells an attacker about the secret (BREACH, CVE-2013-3587).
	Cookies bool
}

// DefaultTypes are media types of text, and of what else is not compressed by
// itself.
func DefaultTypes() []string {
	return []string{
		"text/*", "application/json", "application/ld+json", "application/manifest+json", "application/problem+json",
		"application/javascript", "application/x-javascript", "application/xml", "application/xhtml+xml",
		"application/rss+xml", "application/atom+xml", "application/geo+json", "application/graphql-response+json",
		"application/wasm", "application/x-ndjson", "application/vnd.ms-fontobject", "font/ttf", "font/otf",
		"image/svg+xml", "image/bmp", "image/vnd.microsoft.icon", "image/x-icon",
	}
}

// Filter is a filter of handlers. It may be used concurrently.
type Filter struct {
	Options
	encoders [coding.Codings]sync.Pool
}

// New makes a filter. An error names the option that is wrong.
func New(o Options) (*Filter, error) {
	if o.Codings == nil {
		o.Codings = []coding.Coding{coding.Zstd, coding.Brotli, coding.Gzip}
	}
	if o.Types == nil {
		o.Types = DefaultTypes()
	}
	if o.MinSize == 0 {
		o.MinSize = 1 << 10
	}
	if o.Level == 0 {
		o.Level = 4
	}
	if o.Level < 1 || o.Level > 9 {
		return nil, fmt.Errorf("level %d: must be 1 to 9", o.Level)
	}
	if o.MinSize < 0 {
		return nil, fmt.Errorf("min size %d: must not be negative", o.MinSize)
	}
	f := &Filter{Options: o}
	for _, c := range o.Codings {
		if c == coding.Identity || c >= coding.Codings {
			return nil, fmt.Errorf("coding %d: there is no such", c)
		}
	}
	return f, nil
}

// Handler compresses what next answers.
func (f *Filter) Handler(next exchange.Handler) exchange.Handler {
	return exchange.HandlerFunc(func(x *exchange.Exchange) {
		best := coding.Read(&x.Request.Header).Best(f.Codings) // next may change the request
		next.Serve(x)
		r := &x.Response
		if r.Status == http.StatusNotModified {
			weakenAsAsked(x)
			return
		}
		if !f.eligible(x) {
			return
		}
		vary(&r.Header)
		r.Prebuilt = nil
		if best != coding.Identity {
			f.compress(r, best)
		}
	})
}

// eligible reports whether an answer would be compressed for some client.
func (f *Filter) eligible(x *exchange.Exchange) bool {
	r := &x.Response
	switch {
	case r.Status < 200 || r.Status == http.StatusNoContent || r.Status == http.StatusPartialContent:
		return false
	case r.Tunnel != nil || r.Length == 0 || r.Body == nil && string(x.Request.Method) != http.MethodHead:
		return false
	case r.Length != exchange.Unknown && r.Length < f.MinSize:
		return false
	case r.Header.Has(exchange.ContentEncoding) || r.Header.Has(exchange.ContentRange):
		return false
	case r.Header.Has(exchange.SetCookie) && !f.Cookies:
		return false
	}
	return f.hasType(r.Header.Get(exchange.ContentType)) && !noTransform(&r.Header) && !noTransform(&x.Request.Header)
}

// hasType reports whether a Content-Type is among the types.
func (f *Filter) hasType(contentType []byte) bool {
	media, _, _ := bytes.Cut(contentType, []byte(";"))
	media = bytes.Trim(media, " \t")
	for _, t := range f.Types {
		if prefix, any := strings.CutSuffix(t, "*"); any {
			if len(media) >= len(prefix) && equalFold(media[:len(prefix)], prefix) {
				return true
			}
		} else if equalFold(media, t) {
			return true
		}
	}
	return false
}

func equalFold(b []byte, text string) bool {
	return len(b) == len(text) && strings.EqualFold(string(b), text)
}

// noTransform reports the directive (RFC 9111, 5.2.2.6). A directive whose
// value only looks like it counts too: then the bytes stay as they are.
func noTransform(h *exchange.Header) bool {
	if !h.Has(exchange.CacheControl) {
		return false
	}
	for value := range h.Values("Cache-Control") {
		if strings.Contains(strings.ToLower(string(value)), "no-transform") {
			return true
		}
	}
	return false
}

// vary adds Accept-Encoding to Vary: the answer depends on it, compressed or
// not.
func vary(h *exchange.Header) {
	for value := range h.Values("Vary") {
		for name := range bytes.SplitSeq(value, []byte(",")) {
			if name = bytes.Trim(name, " \t"); string(name) == "*" || equalFold(name, "Accept-Encoding") {
				return
			}
		}
	}
	h.AddKnown(exchange.Vary, acceptEncoding)
}

var (
	acceptEncoding = []byte("Accept-Encoding")
	weak           = []byte("W/")
)

// weakenAsAsked makes the tag of a 304 the weak one that the client has, which
// this filter made of it before.
func weakenAsAsked(x *exchange.Exchange) {
	tag := x.Response.Header.Get(exchange.ETag)
	if tag == nil || validator.IsWeak(tag) {
		return
	}
	found := false
	for value := range x.Request.Header.Values("If-None-Match") {
		for asked := range validator.Tags(value) {
			if bytes.Equal(asked, tag) {
				return
			}
			found = found || validator.Weak(asked, tag)
		}
	}
	if found {
		x.Response.Prebuilt = nil
		x.Response.Header.SetKnown(exchange.ETag, append(append(x.Room(len(tag)+2), weak...), tag...))
	}
}

// compress changes the header, and puts an encoder in front of the body.
func (f *Filter) compress(r *exchange.Response, c coding.Coding) {
	h := &r.Header
	h.AddKnown(exchange.ContentEncoding, []byte(c.String()))
	h.DelKnown(exchange.ContentLength)
	h.DelKnown(exchange.AcceptRanges)
	for _, name := range []string{"Content-MD5", "Content-Digest", "Repr-Digest", "Digest"} { // RFC 9530
		h.Del(name)
	}
	if tag := h.Get(exchange.ETag); tag != nil && !validator.IsWeak(tag) {
		h.SetKnown(exchange.ETag, append(append(make([]byte, 0, len(tag)+2), weak...), tag...))
	}
	source := r.Body
	known := r.Length != exchange.Unknown
	r.Length = exchange.Unknown
	if source == nil { // HEAD
		return
	}
	b := &body{filter: f, coding: c, source: source, eager: !known}
	if media := h.Get(exchange.ContentType); len(media) >= len(eventStream) && equalFold(media[:len(eventStream)], eventStream) {
		b.events = true
	}
	r.Body = b
	if whole, ok := source.(exchange.Whole); ok && known {
		if all, err := b.all(whole.Rest()); err == nil {
			r.SetBytes(all)
		}
		_ = b.Close() // it was in memory
	}
}

const eventStream = "text/event-stream"
