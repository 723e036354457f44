package serve

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"weir/agent/report"
)

// Files are those of TLS: the authority's certificate, and the agent's own
// with its key, all in PEM.
type Files struct {
	CA, Cert, Key string
}

// identity is who the agent is and whom it believes.
type identity struct {
	backend string
	config  *tls.Config
	expires time.Time
}

// load reads the files. The backend is the one that is named, if the
// certificate holds it, or else the only one that the certificate holds.
func (f Files) load(backend string) (*identity, error) {
	cert, err := tls.LoadX509KeyPair(f.Cert, f.Key)
	if err != nil {
		return nil, fmt.Errorf("certificate %s with key %s: %w", f.Cert, f.Key, err)
	}
	text, err := os.ReadFile(f.CA)
	if err != nil {
		return nil, fmt.Errorf("authority: %w", err)
	}
	balancers := x509.NewCertPool()
	if !balancers.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("authority %s: no certificate in PEM", f.CA)
	}
	if backend, err = speaker(cert.Leaf, backend); err != nil {
		return nil, fmt.Errorf("certificate %s: %w", f.Cert, err)
	}
	if time.Now().After(cert.Leaf.NotAfter) {
		return nil, fmt.Errorf("certificate %s ended on %s", f.Cert, cert.Leaf.NotAfter.UTC().Format(time.DateOnly))
	}
	return &identity{backend: backend, expires: cert.Leaf.NotAfter, config: &tls.Config{
		MinVersion:             tls.VersionTLS13,
		Certificates:           []tls.Certificate{cert},
		ClientAuth:             tls.RequireAndVerifyClientCert, // for use as a client
		ClientCAs:              balancers,
		SessionTicketsDisabled: true, // a resumed session would not show its certificate
		NextProtos:             []string{"http/1.1"},
	}}, nil
}

// speaker is the backend that a certificate may speak for.
func speaker(cert *x509.Certificate, backend string) (string, error) {
	names := slices.Clone(cert.DNSNames)
	for _, ip := range cert.IPAddresses {
		names = append(names, ip.String())
	}
	switch {
	case backend == "" && len(names) != 1:
		return "", fmt.Errorf("it holds the names %q: say which of them this backend is", names)
	case backend == "":
		backend = names[0]
	}
	if err := report.CheckIdentity(backend); err != nil {
		if refused, ok := errors.AsType[*report.RefusedError](err); ok {
			return "", errors.New(refused.Detail)
		}
		return "", err
	}
	if !report.SpeaksFor(cert, backend) {
		return "", fmt.Errorf("it holds the names %q, not backend %s: an agent can speak only for itself", names, backend)
	}
	return backend, nil
}
