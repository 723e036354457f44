package demo

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/netip"
	"os"
	"strings"
	"time"

	"weir/loader/lb"
)

// What --l7 needs besides.
const (
	tlsPort  = 443
	tierHost = "weir.demo"
	certPath = runDir + "/weir.demo.crt"
	keyPath  = runDir + "/weir.demo.key"
)

// tierConfig makes the HTTP tier answer at the VIP.
func tierConfig(b *strings.Builder, vip netip.Addr) {
	fmt.Fprintf(b, "services:\n")
	for name, v := range map[string]lb.VIP{
		"http": {Addr: vip, Port: vipPort, Proto: lb.TCP}, "https": {Addr: vip, Port: tlsPort, Proto: lb.TCP}, "h3": {Addr: vip, Port: tlsPort, Proto: lb.UDP},
	} {
		fmt.Fprintf(b, "  - {name: %s, vip: %q, forward: l7}\n", name, v)
	}
	fmt.Fprintf(b, "http:\n  certificates: [{name: demo, certificate: %s, key: %s}]\n  listeners:\n", certPath, keyPath)
	fmt.Fprintf(b, "    - {name: http, addresses: [%q]}\n", netip.AddrPortFrom(vip, vipPort))
	fmt.Fprintf(b, "    - {name: https, addresses: [%q], http3: true, tls: {stapling: false}}\n", netip.AddrPortFrom(vip, tlsPort))
	fmt.Fprintf(b, "  routes: [{name: web, pool: %s}]\n", poolName)
}

// prepareTier gives the balancer the VIP, which its own sockets are to have,
// and a certificate that the clients trust.
func (d *demo) prepareTier(context.Context) error {
	if !d.opts.l7 {
		return nil
	}
	if err := d.topo.Balancer.AddAddr("lo", netip.PrefixFrom(d.topo.VIP, d.topo.VIP.BitLen())); err != nil {
		return err
	}
	roots, err := writeCertificate(d.topo.VIP)
	if err != nil {
		return fmt.Errorf("making a certificate: %w", err)
	}
	d.load.speak(roots)
	return nil
}

// writeCertificate makes a certificate that signs itself.
func writeCertificate(vip netip.Addr) (*x509.CertPool, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: tierHost}, DNSNames: []string{tierHost},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(30 * 24 * time.Hour), KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		IsCA: true, BasicConstraintsValid: true, IPAddresses: []net.IP{vip.AsSlice()},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return nil, err
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	for path, block := range map[string]*pem.Block{certPath: {Type: "CERTIFICATE", Bytes: der}, keyPath: {Type: "PRIVATE KEY", Bytes: private}} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			return nil, err
		}
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	roots.AddCert(cert)
	return roots, nil
}

func clientTLS(roots *x509.CertPool, protocol string) *tls.Config {
	return &tls.Config{RootCAs: roots, ServerName: tierHost, NextProtos: []string{protocol}, MinVersion: tls.VersionTLS12}
}
