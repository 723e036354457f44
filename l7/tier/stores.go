package tier

import (
	"fmt"
	"net/http"
	"strings"

	"weir/l7/certs"
	"weir/l7/exchange"
	"weir/l7/value"
	"weir/loader/lb"
)

// storeOf is the certificates of a listener, nil of a plain one.
func (d *draft) storeOf(l lb.Listener) *certs.Store {
	if l.TLS == nil {
		return nil
	}
	return d.next.stores[storeName(l, d.gen.config)].it
}

// storeName is all that a store is made of: listeners that say the same share
// one.
func storeName(l lb.Listener, c lb.HTTP) string {
	return fmt.Sprintf("%+v %+v %+v %+v", *l.TLS, l.Protocols, c.Certificates, c.ACME)
}

func (d *draft) makeStores(c lb.HTTP) error {
	for _, l := range c.Listeners {
		if l.TLS == nil {
			continue
		}
		_, err := take(d, d.tier.parts.stores, d.next.stores, storeName(l, c), nil,
			func() (*certs.Store, error) { return certs.New(d.tier.storeOptions(l, c)) }, func(*certs.Store) {})
		if err != nil {
			return fmt.Errorf("listener %s: %w", l.Name, err)
		}
	}
	return nil
}

func (t *Tier) storeOptions(l lb.Listener, c lb.HTTP) certs.Options {
	o := certs.Options{
		Strict: l.TLS.RefuseSNI, MinVersion: l.TLS.MinVersion, TicketKeys: l.TLS.TicketFile, Staple: l.TLS.Stapling, Notify: t.notice,
	}
	for _, name := range l.TLS.Certificates {
		for _, pair := range c.Certificates {
			if pair.Name == name {
				o.Pairs = append(o.Pairs, certs.Pair{Certificate: pair.Cert, Key: pair.Key})
			}
		}
	}
	for _, a := range l.TLS.Clients {
		o.Clients = append(o.Clients, certs.ClientAuth{Hosts: a.Hosts, CA: a.CA, Optional: !a.Required})
	}
	if l.Protocols.H2 {
		o.Protocols = append(o.Protocols, "h2")
	}
	if l.Protocols.H1 {
		o.Protocols = append(o.Protocols, "http/1.1")
	}
	if len(c.ACME.Hosts) > 0 {
		o.ACME = &certs.ACME{
			Hosts: c.ACME.Hosts, Directory: c.ACME.Directory, Email: c.ACME.Email, CA: c.ACME.CA, Dir: c.ACME.Storage,
			NoHTTP: !c.ACME.HTTP01, NoTLS: !c.ACME.TLSALPN01,
		}
	}
	return o
}

func (t *Tier) notice(n certs.Notice) {
	switch n.Kind {
	case certs.Refused, certs.Expiring, certs.NoIssue:
		t.log.Warn(n.Text, "kind", string(n.Kind))
	default:
		t.log.Info(n.Text, "kind", string(n.Kind))
	}
}

// challenged lets ACME authorities find their challenges on plain listeners,
// before any route.
func (d *draft) challenged(next exchange.Handler) exchange.Handler {
	var issuing []*certs.Store
	for _, p := range d.next.stores {
		issuing = append(issuing, p.it)
	}
	return exchange.HandlerFunc(func(x *exchange.Exchange) {
		if !strings.HasPrefix(string(x.Request.Target), certs.ChallengePath) {
			next.Serve(x)
			return
		}
		host, path := string(value.Hostname(x)), string(x.Request.Target)
		for _, s := range issuing {
			if text, answered := s.Challenge(x.Context(), host, path); answered {
				x.Response.Status = http.StatusOK
				x.Response.SetBytes(text)
				return
			}
		}
		next.Serve(x)
	})
}

// Certificates are all that listeners use, each once.
func (t *Tier) Certificates() []certs.Info {
	t.mu.Lock()
	defer t.mu.Unlock()
	var all []certs.Info
	seen := map[string]bool{}
	for _, p := range t.parts.stores {
		for _, info := range p.it.List() {
			if key := info.Source + info.Serial; !seen[key] {
				seen[key] = true
				all = append(all, info)
			}
		}
	}
	return all
}
