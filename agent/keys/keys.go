// Package keys makes the small certificate authority by which agents and
// balancers know each other: agents' certificates name their backends and are
// good for serving alone, balancers' for asking alone, so that no backend can
// ask another.
package keys

import (
	"cmp"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/netip"
	"time"

	"weir/agent/report"
)

// early certificates are valid before they were made: clocks that are a day
// late take them too.
const early = 25 * time.Hour

// pair is a certificate with its key.
type pair struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// newAuthority makes an authority that signs no other authorities.
func newAuthority(now time.Time, valid time.Duration) (pair, error) {
	return sign(&x509.Certificate{
		Subject:               pkix.Name{CommonName: "weir agents " + now.UTC().Format("2006-01-02")},
		NotBefore:             now.Add(-early),
		NotAfter:              now.Add(valid),
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
		MaxPathLenZero:        true,
	}, pair{})
}

// agent makes a backend's certificate.
func (ca pair) agent(backend string, now time.Time, valid time.Duration) (pair, error) {
	template := leaf(backend, now, valid, x509.ExtKeyUsageServerAuth)
	if a, err := netip.ParseAddr(backend); err == nil {
		template.IPAddresses = []net.IP{a.AsSlice()}
	} else {
		template.DNSNames = []string{backend}
	}
	return ca.issue(template)
}

// balancer makes the certificate of who asks agents.
func (ca pair) balancer(name string, now time.Time, valid time.Duration) (pair, error) {
	return ca.issue(leaf(name, now, valid, x509.ExtKeyUsageClientAuth))
}

func leaf(name string, now time.Time, valid time.Duration, use x509.ExtKeyUsage) *x509.Certificate {
	return &x509.Certificate{
		Subject:               pkix.Name{CommonName: name[:min(len(name), 64)]}, // RFC 5280 appendix A.1, ub-common-name
		NotBefore:             now.Add(-early),
		NotAfter:              now.Add(valid),
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{use},
		BasicConstraintsValid: true,
	}
}

func (ca pair) issue(template *x509.Certificate) (pair, error) {
	if template.NotAfter.Truncate(time.Second).After(ca.cert.NotAfter) { // certificates count in seconds
		return pair{}, fmt.Errorf("certificate of %s would be valid until %s, its authority only until %s: ask for fewer days, or make a new authority",
			template.Subject.CommonName, day(template.NotAfter), day(ca.cert.NotAfter))
	}
	if template.NotBefore.Before(ca.cert.NotBefore) {
		template.NotBefore = ca.cert.NotBefore
	}
	return sign(template, ca)
}

func day(t time.Time) string { return t.UTC().Format(time.DateOnly) }

// sign makes a key and its certificate, signed by an authority or, without
// one, by itself.
func sign(template *x509.Certificate, ca pair) (pair, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return pair{}, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return pair{}, err
	}
	template.SerialNumber = serial.Add(serial, big.NewInt(1))
	der, err := x509.CreateCertificate(rand.Reader, template, cmp.Or(ca.cert, template), &key.PublicKey, cmp.Or(ca.key, key))
	if err != nil {
		return pair{}, err
	}
	cert, err := x509.ParseCertificate(der)
	return pair{cert, key}, err
}

func (p pair) certPEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: p.cert.Raw})
}

func (p pair) keyPEM() ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(p.key)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}

// parseAuthority reads what an earlier call made.
func parseAuthority(certPEM, keyPEM []byte, now time.Time) (pair, error) {
	block, _ := pem.Decode(certPEM)
	if block == nil || block.Type != "CERTIFICATE" {
		return pair{}, errors.New("no certificate in PEM")
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return pair{}, err
	}
	block, _ = pem.Decode(keyPEM)
	if block == nil || block.Type != "PRIVATE KEY" {
		return pair{}, errors.New("no private key in PEM")
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return pair{}, err
	}
	key, ok := parsed.(*ecdsa.PrivateKey)
	switch {
	case !ok || !key.PublicKey.Equal(cert.PublicKey):
		return pair{}, errors.New("the key is not the certificate's")
	case !cert.IsCA:
		return pair{}, errors.New("the certificate is no authority's")
	case now.After(cert.NotAfter):
		return pair{}, fmt.Errorf("the authority ended on %s: make another in a new directory", day(cert.NotAfter))
	}
	return pair{cert, key}, nil
}

// checkName takes names of balancers that can be part of a file's.
func checkName(name string) error {
	if report.CheckIdentity(name) != nil {
		return fmt.Errorf("balancer %.70q is not a name in lower case, such as lb1 or lb1.example", name)
	}
	return nil
}
