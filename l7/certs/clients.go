package certs

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"strings"
)

// ClientAuth says that clients of some hosts show a certificate.
type ClientAuth struct {
	Hosts    []string // names, or *.name for one label
	CA       string   // file of PEM certificates that sign those of clients
	Optional bool     // who shows none is served too
}

// clientAuth is a ClientAuth with what its file says.
type clientAuth struct {
	ClientAuth
	seen   stamp
	roots  *x509.CertPool
	failed string
	config *tls.Config // of a state only
}

func newClientAuth(c ClientAuth) (*clientAuth, error) {
	if len(c.Hosts) == 0 {
		return nil, errors.New("client certificates: no hosts are named")
	}
	a := &clientAuth{ClientAuth: c}
	_, err := a.look()
	return a, err
}

// look reads the file of authorities if it has changed. An error is returned
// once for each state of the file.
func (a *clientAuth) look() (changed bool, err error) {
	now, err := stampOf(a.CA)
	if err == nil && a.roots != nil && now.same(a.seen) {
		return false, nil
	}
	var roots *x509.CertPool
	if err == nil {
		roots, err = readRoots(a.CA)
	}
	if err != nil {
		again := a.failed == err.Error()
		a.failed = err.Error()
		if again {
			return false, nil
		}
		return false, fmt.Errorf("authorities of client certificates: %w", err)
	}
	a.seen, a.roots, a.failed = now, roots, ""
	return true, nil
}

func readRoots(name string) (*x509.CertPool, error) {
	text, err := readFile(name)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("%s: there is no PEM certificate in it", name)
	}
	return roots, nil
}

// with is a copy whose handshakes are as base's, but for the client's part.
// Its tickets are its own: who was not asked for a certificate, or showed one
// of another authority, must not come back here by one.
func (a *clientAuth) with(base *tls.Config, keys [][32]byte) *clientAuth {
	b := *a
	b.config = base.Clone()
	b.config.ClientCAs = a.roots
	b.config.ClientAuth = tls.RequireAndVerifyClientCert
	if a.Optional {
		b.config.ClientAuth = tls.VerifyClientCertIfGiven
	}
	own := make([][32]byte, len(keys))
	for i, k := range keys {
		mac := hmac.New(sha256.New, k[:])
		mac.Write([]byte(strings.Join(a.Hosts, " ") + "\x00"))
		for _, subject := range a.roots.Subjects() { //nolint:staticcheck // the pool is our own, not the system's
			mac.Write(subject)
		}
		mac.Sum(own[i][:0])
	}
	b.config.SetSessionTicketKeys(own)
	return &b
}

func (a *clientAuth) matches(host string) bool {
	host = strings.ToLower(host)
	for _, h := range a.Hosts {
		if rest, isWild := strings.CutPrefix(h, "*"); isWild {
			if label, found := strings.CutSuffix(host, rest); found && label != "" && !strings.Contains(label, ".") {
				return true
			}
		} else if h == host {
			return true
		}
	}
	return false
}
