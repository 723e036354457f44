package certs

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"

	"github.com/caddyserver/certmagic"
	"github.com/mholt/acmez/v3/acme"
	"go.uber.org/zap"
)

// acmeProtocol is what an authority offers by ALPN to look for its challenge
// (RFC 8737).
const acmeProtocol = "acme-tls/1"

// ACME has certificates issued, and renewed when a third of their time is left
// (RFC 8555). The authority looks for its challenges at the hosts' ports 80
// (HTTP-01, see Store.Challenge) or 443 (TLS-ALPN-01); either will do.
type ACME struct {
	Hosts     []string
	Directory string // URL; "": Let's Encrypt
	Email     string
	CA        string // file of PEM certificates that the authority's own is signed by; "": the system's
	KeyID     string // external account binding, if the authority wants one
	MACKey    string // likewise, base64url
	NoHTTP    bool   // never HTTP-01
	NoTLS     bool   // never TLS-ALPN-01
	// Storage keeps account, keys and certificates. Nodes that share it solve each
	// other's challenges and have one of them ask. nil: files in Dir.
	Storage certmagic.Storage
	Dir     string
}

// issuer is ACME at work.
type issuer struct {
	options ACME
	hosts   map[string]bool
	cache   *certmagic.Cache
	magic   *certmagic.Config
	account *certmagic.ACMEIssuer
}

func newIssuer(a ACME, o Options) (*issuer, error) {
	if len(a.Hosts) == 0 {
		return nil, errors.New("ACME: no hosts are named")
	}
	if a.NoHTTP && a.NoTLS {
		return nil, errors.New("ACME: HTTP-01 and TLS-ALPN-01 are both off")
	}
	if a.Storage == nil {
		if a.Dir == "" {
			return nil, errors.New("ACME: no directory for account and certificates is named")
		}
		a.Storage = &certmagic.FileStorage{Path: a.Dir}
	}
	i := &issuer{options: a, hosts: map[string]bool{}}
	for _, h := range a.Hosts {
		i.hosts[strings.ToLower(h)] = true
	}
	silent := zap.NewNop() // what matters is told by events
	i.cache = certmagic.NewCache(certmagic.CacheOptions{
		GetConfigForCert: func(certmagic.Certificate) (*certmagic.Config, error) { return i.magic, nil },
		Logger:           silent,
	})
	i.magic = certmagic.New(i.cache, certmagic.Config{
		Storage: a.Storage, Logger: silent, OnEvent: i.tell(o.Notify),
		OCSP: certmagic.OCSPConfig{DisableStapling: !o.Staple},
	})
	template, err := i.template(silent)
	if err != nil {
		i.cache.Stop()
		return nil, err
	}
	i.account = certmagic.NewACMEIssuer(i.magic, template)
	i.magic.Issuers = []certmagic.Issuer{i.account}
	return i, nil
}

func (i *issuer) template(log *zap.Logger) (certmagic.ACMEIssuer, error) {
	a := i.options
	t := certmagic.ACMEIssuer{
		CA: a.Directory, Email: a.Email, Agreed: true, Logger: log,
		DisableHTTPChallenge: a.NoHTTP, DisableTLSALPNChallenge: a.NoTLS,
	}
	if t.CA == "" {
		t.CA = certmagic.LetsEncryptProductionCA
	}
	t.TestCA = t.CA // no other authority is ever asked
	if a.KeyID != "" {
		t.ExternalAccount = &acme.EAB{KeyID: a.KeyID, MACKey: a.MACKey}
	}
	if a.CA != "" {
		roots, err := readRoots(a.CA)
		if err != nil {
			return t, fmt.Errorf("ACME: %w", err)
		}
		t.TrustedRoots = roots
	}
	return t, i.keepOut(&t)
}

// keepOut gives the library ports of its own on loopback for the listeners that
// it opens while it solves a challenge: those of the tier answer.
func (i *issuer) keepOut(t *certmagic.ACMEIssuer) error {
	t.ListenHost = "127.0.0.1"
	for _, port := range []*int{&t.AltHTTPPort, &t.AltTLSALPNPort} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return fmt.Errorf("ACME: %w", err)
		}
		*port = l.Addr().(*net.TCPAddr).Port
		if err := l.Close(); err != nil {
			return fmt.Errorf("ACME: %w", err)
		}
	}
	return nil
}

// tell passes on what the library reports.
func (i *issuer) tell(notify func(Notice)) func(context.Context, string, map[string]any) error {
	return func(_ context.Context, event string, data map[string]any) error {
		switch event {
		case "cert_obtained":
			notify(Notice{Issued, fmt.Sprintf("%v: a certificate was issued (renewal: %v)", data["identifier"], data["renewal"])})
		case "cached_managed_cert":
			notify(Notice{Loaded, fmt.Sprintf("%v: the issued certificate is in use", data["sans"])})
		case "cert_failed":
			notify(Notice{NoIssue, fmt.Sprintf("%v: no certificate was issued: %v", data["identifier"], data["error"])})
		}
		return nil
	}
}

func (i *issuer) begin(ctx context.Context) error {
	if err := i.magic.ManageAsync(ctx, i.options.Hosts); err != nil {
		return fmt.Errorf("ACME: %w", err)
	}
	return nil
}

func (i *issuer) end() { i.cache.Stop() }

func (i *issuer) manages(host string) bool { return i.hosts[strings.ToLower(host)] }

// asks reports whether this is the authority, looking for its challenge.
func (i *issuer) asks(hello *tls.ClientHelloInfo) bool {
	return !i.options.NoTLS && slices.Equal(hello.SupportedProtos, []string{acmeProtocol})
}

func (i *issuer) certificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	return i.magic.GetCertificate(hello)
}

func (i *issuer) certificates() (all []tls.Certificate) {
	for _, host := range i.options.Hosts {
		for _, c := range i.cache.AllMatchingCertificates(host) {
			if c.Leaf == nil {
				leaf, err := x509.ParseCertificate(c.Certificate.Certificate[0])
				if err != nil {
					continue // the library has read it before
				}
				c.Leaf = leaf
			}
			all = append(all, c.Certificate)
		}
	}
	return all
}

// ChallengePath is where an authority looks for HTTP-01 challenges (RFC 8555,
// 8.3).
const ChallengePath = "/.well-known/acme-challenge/"

// Challenge answers an authority's HTTP-01 request for a host and a path that
// begins with ChallengePath. Where it answers not, the request is anybody's.
func (s *Store) Challenge(ctx context.Context, host, path string) (text []byte, answered bool) {
	if s.acme == nil {
		return nil, false
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, path, nil)
	if err != nil {
		return nil, false
	}
	r.Host = host
	w := &kept{header: http.Header{}}
	answered = s.acme.account.HandleHTTPChallenge(w, r)
	return w.text, answered
}

// kept is an answer that is kept.
type kept struct {
	header http.Header
	text   []byte
}

func (k *kept) Header() http.Header { return k.header }
func (k *kept) WriteHeader(int)     {}
func (k *kept) Write(p []byte) (int, error) {
	k.text = append(k.text, p...)
	return len(p), nil
}
