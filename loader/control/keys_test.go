package control_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// writeKeys makes ca.crt, ca.key, lb.crt and lb.key.
func writeKeys(dir string) error {
	now := time.Now()
	ca := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: now.Add(-time.Minute), NotAfter: now.Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	lb := &x509.Certificate{SerialNumber: big.NewInt(2), NotBefore: ca.NotBefore, NotAfter: ca.NotAfter}
	return errors.Join(writeCertificate(dir, "ca", ca, ca, caKey, caKey), writeCertificate(dir, "lb", lb, ca, key, caKey))
}

// issuer gives each address that is connected to a certificate of its own.
func issuer(dir string) (func(*tls.ClientHelloInfo) (*tls.Certificate, error), error) {
	authority, err := tls.LoadX509KeyPair(dir+"/ca.crt", dir+"/ca.key")
	if err != nil {
		return nil, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	return func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
		cert := &x509.Certificate{SerialNumber: big.NewInt(3), NotBefore: authority.Leaf.NotBefore, NotAfter: authority.Leaf.NotAfter,
			IPAddresses: []net.IP{hello.Conn.LocalAddr().(*net.TCPAddr).IP}}
		der, err := x509.CreateCertificate(rand.Reader, cert, authority.Leaf, key.Public(), authority.PrivateKey)
		return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, err
	}, nil
}

func writeCertificate(dir, name string, cert, ca *x509.Certificate, key, caKey *ecdsa.PrivateKey) error {
	der, err := x509.CreateCertificate(rand.Reader, cert, ca, key.Public(), caKey)
	if err != nil {
		return err
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	write := func(suffix, kind string, b []byte) error {
		return os.WriteFile(filepath.Join(dir, name+suffix), pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: b}), 0o600)
	}
	return errors.Join(write(".crt", "CERTIFICATE", der), write(".key", "PRIVATE KEY", keyDER))
}
