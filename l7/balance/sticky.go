package balance

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"time"

	"weir/l7/exchange"
)

// StickyOptions are the settings of a Sticky.
type StickyOptions struct {
	Cookie string        // its name, a token
	Pool   string        // name; a cookie of another pool is not taken
	Keys   [][]byte      // secrets of at least 32 bytes; the first signs, all are taken
	TTL    time.Duration // 0: as long as the browser's session
	Path   string        // "": /
	Secure bool
}

// Sticky keeps clients at the backend of their first request by a cookie. The
// value is a keyed digest of the backend's address: it names the backend to
// those who hold the key, cannot be made up, tells nobody an address, and
// needs no state.
type Sticky struct {
	o StickyOptions
}

// leastKey is the length of the shortest secret, bytes.
const leastKey = 32

// NewSticky checks the settings.
func NewSticky(o StickyOptions) (*Sticky, error) {
	if o.Cookie == "" || strings.ContainsAny(o.Cookie, " \t\r\n\x00()<>@,;:\\\"/[]?={}") {
		return nil, fmt.Errorf("sticky cookie: %q is no name", o.Cookie)
	}
	if len(o.Keys) == 0 {
		return nil, errors.New("sticky cookie: no key")
	}
	for _, k := range o.Keys {
		if len(k) < leastKey {
			return nil, fmt.Errorf("sticky cookie: a key of %d bytes is shorter than %d", len(k), leastKey)
		}
	}
	if o.Path == "" {
		o.Path = "/"
	}
	if strings.ContainsAny(o.Path, ";\r\n\x00") {
		return nil, fmt.Errorf("sticky cookie: path %q", o.Path)
	}
	return &Sticky{o}, nil
}

// Bound is a Sticky with the members of a picker.
type Bound struct {
	name  []byte
	found map[string]int // cookie's value: position
	set   [][]byte       // value of Set-Cookie for each
}

// Bind makes the cookies of members.
func (s *Sticky) Bind(members []Member) *Bound {
	b := &Bound{name: []byte(s.o.Cookie), found: map[string]int{}}
	for i, m := range members {
		addr := m.Addr.String()
		for k := range s.o.Keys {
			b.found[s.value(k, addr)] = i
		}
		b.set = append(b.set, s.setCookie(s.value(0, addr)))
	}
	return b
}

func (s *Sticky) value(key int, addr string) string {
	mac := hmac.New(sha256.New, s.o.Keys[key])
	_, _ = fmt.Fprintf(mac, "weir sticky\x00%s\x00%s", s.o.Pool, addr) // a hash takes all
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil)[:18])
}

func (s *Sticky) setCookie(value string) []byte {
	c := fmt.Sprintf("%s=%s; Path=%s; HttpOnly; SameSite=Lax", s.o.Cookie, value, s.o.Path)
	if s.o.TTL > 0 {
		c += fmt.Sprintf("; Max-Age=%d", int64(s.o.TTL/time.Second))
	}
	if s.o.Secure {
		c += "; Secure"
	}
	return []byte(c)
}

// Find is the position of the member that a request's cookie names, -1 if none
// does.
func (b *Bound) Find(h *exchange.Header) int {
	if !h.Has(exchange.Cookie) {
		return -1
	}
	for value := range h.Values("Cookie") {
		for len(value) > 0 {
			var pair []byte
			pair, value = cut(value, ';')
			for len(pair) > 0 && pair[0] == ' ' {
				pair = pair[1:]
			}
			name, text := cut(pair, '=')
			if string(name) != string(b.name) {
				continue
			}
			if i, ok := b.found[string(text)]; ok {
				return i
			}
		}
	}
	return -1
}

// SetCookie is the value of Set-Cookie that keeps a client at a member.
func (b *Bound) SetCookie(i int) []byte { return b.set[i] }

func cut(b []byte, sep byte) (before, after []byte) {
	for i, c := range b {
		if c == sep {
			return b[:i], b[i+1:]
		}
	}
	return b, nil
}
