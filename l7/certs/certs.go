// Package certs holds the certificates of the HTTP tier: files that are watched
// and swapped while connections go on, those that an ACME authority issues, the
// keys of session tickets, and what clients must show.
package certs

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// Pair names the files of one certificate, both PEM: the chain, leaf first, and
// the leaf's private key (RSA or ECDSA or Ed25519). Several pairs may be for the
// same names; clients get the first that they support.
type Pair struct {
	Certificate string
	Key         string
}

// Options are what a Store is made of. The zero value of each duration stands for
// the default that its comment names.
type Options struct {
	Pairs []Pair
	ACME  *ACME // nil: none

	// Strict refuses clients that name an unknown host (the alert
	// unrecognized_name). Otherwise they get the first pair, as those do that
	// name none.
	Strict bool

	MinVersion uint16   // tls.VersionTLS12
	Protocols  []string // of ALPN, in order of preference

	Clients []ClientAuth // of hosts whose clients show certificates

	// TicketKeys is a file of keys that nodes share: a line each, 32 bytes in
	// base64; the first encrypts. Without one, keys are made here and replaced
	// every RotateTickets.
	TicketKeys    string
	RotateTickets time.Duration // 12 hours

	Staple bool          // ask for OCSP answers and send them along
	Every  time.Duration // between two looks at the files; 2 s
	Warn   time.Duration // certificates that end sooner are reported; 21 days

	// Notify hears what people should know. It must not block. nil: nobody.
	Notify func(Notice)
	Now    func() time.Time // time.Now; tests put theirs here
}

// Notice is something that people should hear of.
type Notice struct {
	Kind NoticeKind
	Text string
}

// NoticeKind is what a notice is about.
type NoticeKind string

// Kinds of notices.
const (
	Swapped  NoticeKind = "certificate_swapped"
	Refused  NoticeKind = "certificate_refused" // new files that are no pair; the old one stays
	Expiring NoticeKind = "certificate_expiring"
	Issued   NoticeKind = "certificate_issued"
	Loaded   NoticeKind = "certificate_loaded" // one that was issued, now or earlier, is in use
	NoIssue  NoticeKind = "certificate_not_issued"
)

func (o Options) withDefaults() Options {
	if o.MinVersion == 0 {
		o.MinVersion = tls.VersionTLS12
	}
	for d, def := range map[*time.Duration]time.Duration{
		&o.RotateTickets: 12 * time.Hour, &o.Every: 2 * time.Second, &o.Warn: 21 * 24 * time.Hour,
	} {
		if *d == 0 {
			*d = def
		}
	}
	if o.Notify == nil {
		o.Notify = func(Notice) {}
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return o
}

// Store answers handshakes. Its methods may be called from any goroutine.
type Store struct {
	options Options
	acme    *issuer // nil: none
	current atomic.Pointer[state]

	mu      sync.Mutex // of what Run and Reload change
	files   []*watched
	clients []*clientAuth
	tickets tickets
	warned  map[string]bool // notices of ends that were given, by serial number
}

// state is what handshakes read. It is replaced whole.
type state struct {
	names   names
	base    *tls.Config
	clients []*clientAuth
}

// New reads all files. On an error, which names the file, nothing is left open.
func New(o Options) (*Store, error) {
	s := &Store{options: o.withDefaults(), warned: map[string]bool{}}
	if len(o.Pairs) == 0 && o.ACME == nil {
		return nil, errors.New("no certificate: TLS needs a pair of files or ACME")
	}
	for _, p := range o.Pairs {
		w := &watched{pair: p}
		if _, err := w.look(); err != nil {
			return nil, err
		}
		s.files = append(s.files, w)
	}
	for _, c := range o.Clients {
		a, err := newClientAuth(c)
		if err != nil {
			return nil, err
		}
		s.clients = append(s.clients, a)
	}
	if err := s.tickets.begin(s.options); err != nil {
		return nil, err
	}
	if o.ACME != nil {
		a, err := newIssuer(*o.ACME, s.options)
		if err != nil {
			return nil, err
		}
		s.acme = a
	}
	s.publish()
	return s, nil
}

// Run watches files, replaces ticket keys, has certificates issued and renewed
// and OCSP answers fetched, until ctx ends.
func (s *Store) Run(ctx context.Context) error {
	if s.acme != nil {
		if err := s.acme.begin(ctx); err != nil {
			return err
		}
		defer s.acme.end()
	}
	var stapling sync.WaitGroup
	defer stapling.Wait()
	if s.options.Staple {
		stapling.Go(func() { s.staple(ctx) })
	}
	look := time.NewTicker(s.options.Every)
	defer look.Stop()
	for {
		s.warn()
		select {
		case <-ctx.Done():
			return nil
		case <-look.C:
			s.Reload()
		}
	}
}

// Reload looks at the files now. What is not in order is told and stays as it
// was.
func (s *Store) Reload() {
	s.mu.Lock()
	defer s.mu.Unlock()
	changed := false
	for _, w := range s.files {
		changed = s.again(w) || changed
	}
	for _, c := range s.clients {
		is, err := c.look()
		changed = changed || is
		s.refused(err)
	}
	is, err := s.tickets.look(s.options.Now())
	s.refused(err)
	if changed || is {
		s.publish()
	}
}

// again looks at one pair. It is changed only when the new files go together.
func (s *Store) again(w *watched) bool {
	changed, err := w.look()
	s.refused(err)
	if changed {
		leaf := w.certificate.Load().Leaf
		s.options.Notify(Notice{Swapped, fmt.Sprintf("%s: now the certificate of %v, until %s", w.pair.Certificate, hostsOf(leaf), leaf.NotAfter.Format(time.DateOnly))})
	}
	return changed
}

func (s *Store) refused(err error) {
	if err != nil {
		s.options.Notify(Notice{Refused, err.Error() + "; the one before stays in use"})
	}
}

func (s *Store) warn() {
	for _, i := range s.List() {
		if left := i.NotAfter.Sub(s.options.Now()); left < s.options.Warn && !s.warned[i.Serial] {
			s.warned[i.Serial] = true
			s.options.Notify(Notice{Expiring, fmt.Sprintf("the certificate of %v (%s) ends in %d days", i.Hosts, i.Source, int(left.Hours()/24))})
		}
	}
}

// publish makes what was read the state that handshakes see.
func (s *Store) publish() {
	next := &state{names: newNames(s.files), base: s.newBase()}
	for _, c := range s.clients {
		next.clients = append(next.clients, c.with(next.base, s.tickets.keys))
	}
	s.current.Store(next)
}

func (s *Store) newBase() *tls.Config {
	base := &tls.Config{MinVersion: s.options.MinVersion, NextProtos: s.options.Protocols, GetCertificate: s.certificate}
	if s.acme != nil {
		base.NextProtos = append(base.NextProtos[:len(base.NextProtos):len(base.NextProtos)], acmeProtocol)
	}
	base.SetSessionTicketKeys(s.tickets.keys)
	return base
}

// Config is for listeners. It follows what the store learns later.
func (s *Store) Config() *tls.Config {
	c := s.current.Load().base.Clone()
	c.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		now := s.current.Load()
		for _, c := range now.clients {
			if c.matches(hello.ServerName) {
				return c.config, nil
			}
		}
		return now.base, nil
	}
	return c
}

// certificate answers one handshake; nil stands for unrecognized_name.
func (s *Store) certificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	if s.acme != nil && s.acme.asks(hello) {
		return s.acme.certificate(hello)
	}
	now := s.current.Load()
	if c := now.names.find(hello); c != nil {
		return c, nil
	}
	if s.acme != nil && s.acme.manages(hello.ServerName) {
		return s.acme.certificate(hello)
	}
	if s.options.Strict && hello.ServerName != "" {
		return nil, nil
	}
	return now.names.first(hello), nil
}

// ClientsShow reports whether clients of a host must show a certificate, or
// may, so that a request for it belongs on a connection of its own (421,
// RFC 9110, 15.5.20).
func (s *Store) ClientsShow(host string) bool {
	for _, c := range s.current.Load().clients {
		if c.matches(host) {
			return true
		}
	}
	return false
}

// readFile bounds what a file may hold.
func readFile(name string) ([]byte, error) {
	const most = 1 << 20
	info, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	if info.Size() > most {
		return nil, fmt.Errorf("%s: %d bytes, the most is %d", name, info.Size(), most)
	}
	return os.ReadFile(name)
}

func hostsOf(leaf *x509.Certificate) []string {
	all := append([]string{}, leaf.DNSNames...)
	for _, ip := range leaf.IPAddresses {
		all = append(all, ip.String())
	}
	if len(all) == 0 && leaf.Subject.CommonName != "" {
		all = append(all, leaf.Subject.CommonName)
	}
	return all
}
