package tier

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"os"
	"time"

	"weir/l7/balance"
	"weir/l7/exchange"
	"weir/l7/h1"
	"weir/l7/upstream"
	"weir/l7/value"
	"weir/loader/lb"
)

// poolSettings are what a pool is made of: the same make the same pool.
type poolSettings struct {
	http  lb.PoolHTTP
	seed  uint64
	head  int
	files string
}

func (d *draft) makePools(c lb.HTTP) error {
	head := 0
	for _, l := range c.Listeners {
		head = max(head, l.Limits.BufferedHeader)
	}
	for _, name := range c.Pools() {
		p, known := d.pools[name]
		if !known || p.HTTP == nil {
			return fmt.Errorf("pool %s is not ready for HTTP", name)
		}
		s := poolSettings{http: *p.HTTP, seed: d.seed, head: head, files: poolFiles(*p.HTTP)}
		_, err := take(d, d.tier.parts.pools, d.next.pools, name, s,
			func() (*upstream.Pool, error) { return newPool(name, s) }, (*upstream.Pool).Close)
		if err != nil {
			return fmt.Errorf("pool %s: %w", name, err)
		}
	}
	return nil
}

// longestAnswer is for routes that set no bound; the others say themselves how
// long a backend may think.
const longestAnswer = 30 * 24 * time.Hour

func poolFiles(p lb.PoolHTTP) string {
	text := stamps(p.Sticky.KeyFile)
	if p.TLS != nil {
		text += stamps(p.TLS.CA, p.TLS.Cert, p.TLS.Key)
	}
	return text
}

func newPool(name string, s poolSettings) (*upstream.Pool, error) {
	p := s.http
	o := upstream.Options{
		Name: name, Algorithm: balance.Algorithm(p.Algorithm), Seed: s.seed, Protocol: p.Protocol, ProxyProtocol: p.ProxyProtocol,
		Connect: p.ConnectWithin, Connections: p.Connections, Queue: p.Queue, Retries: p.Retries, Ejection: p.Ejection, Hedge: p.Hedge.After,
		Client: h1.ClientOptions{Head: s.head, Answer: longestAnswer},
	}
	var err error
	if p.TLS != nil {
		if o.TLS, err = upstream.ClientTLS(*p.TLS); err != nil {
			return nil, err
		}
	}
	if len(p.Key) > 0 {
		key, err := value.New(p.Key, lb.PathMatch{})
		if err != nil {
			return nil, fmt.Errorf("key: %w", err)
		}
		o.Key = key.Of
	}
	if p.Sticky.Cookie != "" {
		if o.Sticky, err = newSticky(name, p.Sticky); err != nil {
			return nil, err
		}
	}
	pool, err := upstream.NewPool(o)
	return pool, err
}

// newSticky reads the keys: one a line, or the whole file as one.
func newSticky(pool string, s lb.Sticky) (*balance.Sticky, error) {
	text, err := os.ReadFile(s.KeyFile)
	if err != nil {
		return nil, fmt.Errorf("sticky: %w", err)
	}
	o := balance.StickyOptions{Cookie: s.Cookie, Pool: pool, TTL: s.TTL, Path: s.Path, Secure: s.Secure}
	for line := range bytes.Lines(text) {
		key, err := base64.StdEncoding.DecodeString(string(bytes.TrimSpace(line)))
		if err != nil || len(key) < minKey {
			o.Keys = [][]byte{text}
			break
		}
		o.Keys = append(o.Keys, key)
	}
	if len(o.Keys) == 1 && len(o.Keys[0]) < minKey {
		return nil, fmt.Errorf("sticky: %s has fewer than %d bytes", s.KeyFile, minKey)
	}
	return balance.NewSticky(o)
}

// minKey is the length of the shortest secret, bytes.
const minKey = 32

// fill brings a pool what the control loop has. A pool that is not known there
// yet keeps what it has.
func (t *Tier) fill(name string, p *upstream.Pool) {
	backends := t.pools.Backends(name)
	if backends == nil {
		return
	}
	targets := make([]upstream.Target, len(backends))
	for i, b := range backends {
		targets[i] = upstream.Target{Addr: b.Endpoint, Weight: b.Effective, Up: b.Up}
	}
	if err := p.Update(targets); err != nil {
		t.log.Error("a pool keeps the backends that it had", "pool", name, "error", err)
	}
}

// hosted gives backends the host that the pool's settings want.
func hosted(host lb.Template, next exchange.Handler) (exchange.Handler, error) {
	if len(host) == 0 {
		return next, nil
	}
	text, err := value.New(host, lb.PathMatch{})
	if err != nil {
		return nil, fmt.Errorf("host: %w", err)
	}
	return exchange.HandlerFunc(func(x *exchange.Exchange) {
		before := x.Request.Authority
		x.Request.Authority = text.Of(x)
		next.Serve(x)
		x.Request.Authority = before
	}), nil
}
