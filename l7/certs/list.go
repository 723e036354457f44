package certs

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"time"
)

// Info is what people want to know of a certificate.
type Info struct {
	Hosts     []string  `json:"hosts"`
	Source    string    `json:"source"` // file, or "acme"
	Algorithm string    `json:"algorithm"`
	Issuer    string    `json:"issuer"`
	Serial    string    `json:"serial"`
	NotBefore time.Time `json:"not_before"`
	NotAfter  time.Time `json:"not_after"`
	DaysLeft  int       `json:"days_left"`
	Expiring  bool      `json:"expiring"`        // sooner than Options.Warn
	Stapled   bool      `json:"stapled"`         // an OCSP answer is sent along
	Error     string    `json:"error,omitempty"` // why newer files are not in use
}

// List tells of all certificates in use, files first.
func (s *Store) List() []Info {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []Info
	for _, w := range s.files {
		all = append(all, s.info(w.certificate.Load(), w.pair.Certificate, w.failed))
	}
	if s.acme != nil {
		for _, c := range s.acme.certificates() {
			all = append(all, s.info(&c, "acme", ""))
		}
	}
	return all
}

func (s *Store) info(c *tls.Certificate, source, failed string) Info {
	leaf := c.Leaf
	left := leaf.NotAfter.Sub(s.options.Now())
	return Info{
		Hosts: hostsOf(leaf), Source: source, Algorithm: algorithm(leaf), Issuer: leaf.Issuer.String(),
		Serial: hex.EncodeToString(leaf.SerialNumber.Bytes()), NotBefore: leaf.NotBefore, NotAfter: leaf.NotAfter,
		DaysLeft: int(left.Hours() / 24), Expiring: left < s.options.Warn,
		Stapled: len(c.OCSPStaple) > 0, Error: failed,
	}
}

func algorithm(leaf *x509.Certificate) string { return leaf.PublicKeyAlgorithm.String() }
