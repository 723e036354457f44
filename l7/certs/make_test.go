package certs

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// authority signs certificates of tests.
type authority struct {
	certificate *x509.Certificate
	key         crypto.Signer
	serial      int64
	mu          sync.Mutex
}

func newAuthority(t testing.TB, name string) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	about := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, about, about, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &authority{certificate: parsed, key: key, serial: 1}
}

func (a *authority) pool() *x509.CertPool {
	p := x509.NewCertPool()
	p.AddCert(a.certificate)
	return p
}

func (a *authority) file(t testing.TB) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "ca.pem")
	write(t, name, block("CERTIFICATE", a.certificate.Raw))
	return name
}

// made is a certificate with its key, as PEM.
type made struct{ chain, key []byte }

type want struct {
	hosts     []string
	rsa       bool
	ends      time.Duration // from now; 0: in 30 days
	responder string        // of OCSP
}

func (a *authority) issue(t testing.TB, w want) made {
	t.Helper()
	a.mu.Lock()
	a.serial++
	serial := a.serial
	a.mu.Unlock()
	if w.ends == 0 {
		w.ends = 30 * 24 * time.Hour
	}
	about := &x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: "leaf"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(w.ends),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	for _, h := range w.hosts {
		if ip := net.ParseIP(h); ip != nil {
			about.IPAddresses = append(about.IPAddresses, ip)
		} else {
			about.DNSNames = append(about.DNSNames, h)
		}
	}
	if w.responder != "" {
		about.OCSPServer = []string{w.responder}
	}
	key := newKey(t, w.rsa)
	der, err := x509.CreateCertificate(rand.Reader, about, a.certificate, key.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return made{append(block("CERTIFICATE", der), block("CERTIFICATE", a.certificate.Raw)...), block("PRIVATE KEY", raw)}
}

func newKey(t testing.TB, isRSA bool) (key crypto.Signer) {
	t.Helper()
	var err error
	if isRSA {
		key, err = rsa.GenerateKey(rand.Reader, 2048)
	} else {
		key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	}
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func block(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

func write(t testing.TB, name string, text []byte) {
	t.Helper()
	if err := os.WriteFile(name, text, 0o600); err != nil {
		t.Fatal(err)
	}
}

// put writes a pair into a directory.
func put(t testing.TB, dir, name string, m made) Pair {
	t.Helper()
	p := Pair{filepath.Join(dir, name+".pem"), filepath.Join(dir, name+".key")}
	write(t, p.Certificate, m.chain)
	write(t, p.Key, m.key)
	return p
}

// shake does one handshake with a store and says what the client saw.
func shake(t testing.TB, s *Store, client *tls.Config) (tls.ConnectionState, error) {
	t.Helper()
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	served := make(chan error, 1)
	go func() {
		server := tls.Server(b, s.Config())
		err := server.Handshake()
		if err == nil {
			_, err = server.Write([]byte("x")) // after the tickets
		}
		if err != nil {
			b.Close()
		}
		served <- err
	}()
	conn := tls.Client(a, client)
	err := conn.Handshake()
	if err == nil {
		// In TLS 1.3 a refused client learns of it behind the handshake.
		_, err = conn.Read(make([]byte, 1))
	}
	if err != nil {
		a.Close()
		<-served
		return tls.ConnectionState{}, err
	}
	return conn.ConnectionState(), <-served
}
