package cache

import (
	"bytes"
	"net/http"
	"net/url"
	"strings"

	"weir/l7/exchange"
)

// writeThrough forwards a request that may change something at the origin, and
// forgets what it may have changed (RFC 9111, 4.4).
func (h *handler) writeThrough(x *exchange.Exchange) {
	h.next.Serve(x)
	h.mark(x, note{fwd: "method"})
	if s := x.Response.Status; s < 200 || s > 399 || safe(x.Request.Method) || x.Failure != "" {
		return
	}
	q := &x.Request
	secure := x.Client != nil && x.Client.TLS != nil
	h.cache.forgetURL(string(h.policy.Key.appendURL(nil, secure, q.Authority, q.Path, q.Query)))
	for _, name := range []string{"Location", "Content-Location"} {
		if value := x.Response.Header.GetText(name); value != nil {
			h.forgetRelated(q, secure, string(value))
		}
	}
}

// safe are the methods that change nothing (RFC 9110, 9.2.1); any that is not
// known may change something.
func safe(method []byte) bool {
	switch string(method) {
	case http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace:
		return true
	}
	return false
}

// forgetRelated forgets a URL that an answer names, if it has the origin of the
// request.
func (h *handler) forgetRelated(q *exchange.Request, secure bool, reference string) {
	scheme := "http"
	if secure {
		scheme = "https"
	}
	base := url.URL{Scheme: scheme, Host: string(q.Authority), Path: "/"}
	if path, err := url.Parse(string(q.Path)); err == nil {
		base.Path, base.RawPath = path.Path, path.RawPath
	}
	target, err := base.Parse(reference)
	if err != nil || target.Scheme != scheme || !strings.EqualFold(target.Host, base.Host) {
		return
	}
	path := target.EscapedPath()
	if path == "" {
		path = "/"
	}
	h.cache.forgetURL(string(h.policy.Key.appendURL(nil, secure, q.Authority, []byte(path), []byte(target.RawQuery))))
}

// forgetURL removes all that is stored for a URL, and what is on its way.
func (c *Cache) forgetURL(url string) bool {
	c.purges.Add(1)
	c.flights.spoil(func(f *flight) bool { return f.url == url })
	found := c.store.remove(url)
	if c.disk != nil && c.disk.remove(url) {
		found = true
	}
	if found {
		c.stats.purged.Add(1)
	}
	return found
}

// forget removes one entry.
func (c *Cache) forget(url string, e *entry) {
	e.gone.Store(true)
	c.store.change(url, func(r *resource) *resource {
		if r == nil {
			return nil
		}
		now := &resource{url: url, pass: r.pass}
		for _, v := range r.variants {
			if v != e {
				now.variants = append(now.variants, v)
			}
		}
		if len(now.variants) == 0 {
			return nil
		}
		return now
	})
	if c.disk != nil {
		c.disk.removeEntry(url, e)
	}
}

// PurgeURL forgets a URL with all its variants and reports how many URLs, 0 or
// 1, were stored. The parts that keys leave out do not count: each key in use is
// tried. The path must be canonical.
func (c *Cache) PurgeURL(text string) (int, error) {
	u, err := parseURL(text)
	if err != nil {
		return 0, err
	}
	purged := 0
	for _, url := range c.urlsOf(u) {
		if c.forgetURL(url) {
			purged++
		}
	}
	return purged, nil
}

// urlsOf are what stands for a URL under each key in use.
func (c *Cache) urlsOf(u *url.URL) []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	seen := map[string]bool{}
	var all []string
	for _, k := range c.keys {
		text := string(k.appendURL(nil, u.Scheme == "https", bytes.ToLower([]byte(u.Host)), []byte(u.EscapedPath()), []byte(u.RawQuery)))
		if !seen[text] {
			seen[text] = true
			all = append(all, text)
		}
	}
	return all
}

// PurgePrefix forgets the URLs that begin with a text, as Entries shows them,
// and reports how many. It looks at each that is stored.
func (c *Cache) PurgePrefix(prefix string) int {
	return c.purge(func(url string) bool { return strings.HasPrefix(url, prefix) },
		func(f *flight) bool { return strings.HasPrefix(f.url, prefix) })
}

// PurgeAll forgets everything and reports how many URLs that was.
func (c *Cache) PurgeAll() int { return c.PurgePrefix("") }

func (c *Cache) purge(is func(string) bool, flying func(*flight) bool) int {
	c.flights.spoil(flying)
	urls := map[string]bool{}
	for url := range c.store.urls() {
		if is(url) {
			urls[url] = true
		}
	}
	if c.disk != nil {
		for url := range c.disk.urls() {
			if is(url) {
				urls[url] = true
			}
		}
	}
	purged := 0
	for url := range urls {
		if c.forgetURL(url) {
			purged++
		}
	}
	return purged
}

// PurgeTag forgets the URLs that have an answer with a tag, and reports how
// many.
func (c *Cache) PurgeTag(tag string) int {
	c.flights.spoil(func(f *flight) bool { return f.tagged(tag) })
	urls := map[string]bool{}
	for _, url := range c.store.tagged(tag) {
		urls[url] = true
	}
	if c.disk != nil {
		for _, url := range c.disk.tagged(tag) {
			urls[url] = true
		}
	}
	purged := 0
	for url := range urls {
		if c.forgetURL(url) {
			purged++
		}
	}
	return purged
}
