package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"embed"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"
)

//go:embed conf
var configs embed.FS

func origin(dir string) program {
	return program{name: "origin", cpu: loadCPU, plain: "8000", listen: originAddress,
		args: []string{"nginx", "-e", "stderr", "-c", filepath.Join(dir, "origin.conf")}}
}

func weir(dir string) program {
	return program{name: "weir", cpu: proxyCPU, plain: "8080", secure: "8443", listen: proxyAddress,
		args: []string{"bin/weir", "run", "-c", filepath.Join(dir, "weir.yaml")}}
}

func nginx(dir string) program {
	return program{name: "nginx", cpu: proxyCPU, plain: "8081", secure: "8444", listen: proxyAddress,
		args: []string{"nginx", "-e", "stderr", "-c", filepath.Join(dir, "nginx.conf")}}
}

func haproxy(dir string) program {
	return program{name: "haproxy", cpu: proxyCPU, plain: "8082", secure: "8445", listen: proxyAddress,
		args: []string{"haproxy", "-db", "-f", filepath.Join(dir, "haproxy.cfg")}}
}

const (
	pageSize  = 4 << 10
	largeSize = 1 << 20
)

// writeFiles writes configurations, a certificate, and what is served.
func writeFiles(dir string) error {
	all, err := configs.ReadDir("conf")
	if err != nil {
		return err
	}
	for _, f := range all {
		text, err := configs.ReadFile("conf/" + f.Name())
		if err != nil {
			return err
		}
		filled := strings.NewReplacer("@DIR@", dir, "@PROXY@", proxyAddress, "@ORIGIN@", originAddress).Replace(string(text))
		if err := os.WriteFile(filepath.Join(dir, f.Name()), []byte(filled), 0o644); err != nil {
			return err
		}
	}
	if err := writeCertificate(dir); err != nil {
		return err
	}
	for name, size := range map[string]int{"static/page.html": pageSize, "origin/large": largeSize} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, []byte(strings.Repeat("0123456789abcde\n", size/16)), 0o644); err != nil {
			return err
		}
	}
	return nil
}

func writeCertificate(dir string) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	about := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{"bench.example"}, IPAddresses: []net.IP{net.ParseIP(proxyAddress)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(60 * 24 * time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, about, about, key.Public(), key)
	if err != nil {
		return err
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	chain := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	private := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret})
	for name, text := range map[string][]byte{"cert.pem": chain, "key.pem": private, "both.pem": append(chain, private...)} {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			return fmt.Errorf("certificate: %w", err)
		}
	}
	return nil
}
