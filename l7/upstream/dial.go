package upstream

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"

	"weir/l7/exchange"
	"weir/l7/proxyproto"
	"weir/l7/stream"
	"weir/loader/lb"
)

// dial connects to a backend: TCP, PROXY header, TLS.
func (p *Pool) dial(x *exchange.Exchange, addr netip.AddrPort) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(x.Context(), p.o.Connect)
	defer cancel()
	nc, err := p.o.Dial(ctx, addr)
	if err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	c := stream.New(nc)
	if p.o.ProxyProtocol > 0 {
		if err := writeProxy(c, p.o.ProxyProtocol, x); err != nil {
			_ = c.Close()
			return nil, err
		}
	}
	if p.o.TLS == nil {
		return c, nil
	}
	t := tls.Client(c, p.tlsFor(addr))
	if err := t.HandshakeContext(ctx); err != nil {
		_ = c.Close()
		return nil, fmt.Errorf("TLS handshake: %w", err)
	}
	return t, nil
}

// tlsFor is the configuration of a connection: without a server name of its own
// the certificate must be for the address, as what the client asked for is no
// reason to trust a backend.
func (p *Pool) tlsFor(addr netip.AddrPort) *tls.Config {
	if p.o.TLS.ServerName != "" {
		return p.o.TLS
	}
	c := p.o.TLS.Clone()
	c.ServerName = addr.Addr().String()
	return c
}

// sessions is how many TLS sessions are kept to be resumed.
const sessions = 256

// ClientTLS is the configuration of TLS to backends, made from that of the
// file. Files are read now; an error names the one that is bad.
func ClientTLS(o lb.UpstreamTLS) (*tls.Config, error) {
	c := &tls.Config{
		MinVersion:         tls.VersionTLS12,
		ServerName:         o.ServerName,
		ClientSessionCache: tls.NewLRUClientSessionCache(sessions),
	}
	if o.CA != "" {
		pem, err := os.ReadFile(o.CA)
		if err != nil {
			return nil, fmt.Errorf("CA of backends: %w", err)
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("CA of backends: no certificate in %s", o.CA)
		}
	}
	if o.Cert != "" || o.Key != "" {
		pair, err := tls.LoadX509KeyPair(o.Cert, o.Key)
		if err != nil {
			return nil, fmt.Errorf("certificate for backends: %w", err)
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return c, setVerify(c, o.Verify)
}

func setVerify(c *tls.Config, v lb.TLSVerify) error {
	switch v {
	case lb.VerifyFull, "":
	case lb.VerifyChain:
		c.InsecureSkipVerify = true // the chain is verified here instead, without the name
		c.VerifyConnection = func(s tls.ConnectionState) error { return verifyChain(s, c.RootCAs) }
	case lb.VerifyNone:
		c.InsecureSkipVerify = true
	default:
		return fmt.Errorf("verification of backends %q", v)
	}
	return nil
}

func verifyChain(s tls.ConnectionState, roots *x509.CertPool) error {
	if len(s.PeerCertificates) == 0 {
		return errors.New("the backend has no certificate")
	}
	between := x509.NewCertPool()
	for _, cert := range s.PeerCertificates[1:] {
		between.AddCert(cert)
	}
	_, err := s.PeerCertificates[0].Verify(x509.VerifyOptions{Roots: roots, Intermediates: between})
	return err
}

// writeProxy tells the backend whom the connection is for.
func writeProxy(c *stream.Conn, version int, x *exchange.Exchange) error {
	h := proxyproto.Header{}
	if x.Client != nil {
		h.Source, h.Destination = x.Client.Remote, x.Client.Local
	}
	if _, err := c.Write(proxyproto.Append(nil, version, h)); err != nil {
		return fmt.Errorf("send the PROXY header: %w", err)
	}
	return nil
}
