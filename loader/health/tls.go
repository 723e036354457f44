package health

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net/netip"
	"time"

	"weir/loader/lb"
)

// tlsCheck finds out whether a handshake completes.
type tlsCheck struct {
	to     netip.AddrPort
	config *tls.Config
}

func newTLS(t Target) (Checker, error) {
	config, err := tlsConfig(t)
	return tlsCheck{t.Address, config}, err
}

func (c tlsCheck) Check(ctx context.Context) (Report, error) {
	conn, err := dial(ctx, "tcp", c.to)
	if err != nil {
		return Report{}, err
	}
	defer conn.Close()
	_, report, err := handshake(ctx, conn, c.config)
	return report, err
}

// tlsConfig offers the given protocols by ALPN. A name that is an address goes
// into no SNI (RFC 6066, 3) and must be in the certificate as an address.
func tlsConfig(t Target, protocols ...string) (*tls.Config, error) {
	h := t.Health
	c := &tls.Config{ServerName: h.ServerName, NextProtos: protocols, MinVersion: tls.VersionTLS12}
	if c.ServerName == "" {
		c.ServerName = t.Address.Addr().String()
	}
	if h.CA != "" {
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM([]byte(h.CA)) {
			return nil, errors.New("there is no certificate in the PEM text of the CA")
		}
	}
	switch h.Verify {
	case lb.VerifyChain:
		c.InsecureSkipVerify = true // of the name; the chain is verified here
		c.VerifyConnection = func(s tls.ConnectionState) error { return verifyChain(s, c.RootCAs) }
	case lb.VerifyNone:
		c.InsecureSkipVerify = true
	}
	return c, nil
}

func verifyChain(s tls.ConnectionState, roots *x509.CertPool) error {
	intermediates := x509.NewCertPool()
	for _, cert := range s.PeerCertificates[1:] {
		intermediates.AddCert(cert)
	}
	_, err := s.PeerCertificates[0].Verify(x509.VerifyOptions{Roots: roots, Intermediates: intermediates})
	return err
}

// handshake makes a connection one of TLS. The caller closes conn and not what
// it gets: a peer that does not read must not delay that.
func handshake(ctx context.Context, conn *conn, config *tls.Config) (*tls.Conn, Report, error) {
	secure := tls.Client(conn, config)
	if err := secure.HandshakeContext(ctx); err != nil {
		return nil, Report{}, failed("TLS handshake", err, ReasonTLS)
	}
	return secure, Report{CertificateEnds: firstEnd(secure.ConnectionState().PeerCertificates)}, nil
}

// firstEnd is when the first of the certificates ends.
func firstEnd(all []*x509.Certificate) time.Time {
	end := all[0].NotAfter
	for _, c := range all[1:] {
		if c.NotAfter.Before(end) {
			end = c.NotAfter
		}
	}
	return end
}
