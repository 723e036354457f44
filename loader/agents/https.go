package agents

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"time"

	"weir/agent/report"
)

const (
	maxHeader = 16 << 10 // bytes
	// An agent that is asked seldom need not be connected meanwhile.
	idleTime = 90 * time.Second
)

// https asks an agent of ours. It keeps one connection.
type https struct {
	identity  string
	request   *http.Request
	transport *http.Transport
}

func newHTTPS(s source) (*https, error) {
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM([]byte(s.agent.CA)) {
		return nil, fmt.Errorf("ca has no PEM certificate")
	}
	own, err := tls.X509KeyPair([]byte(s.agent.Certificate), []byte(s.agent.Key))
	if err != nil {
		return nil, fmt.Errorf("certificate and key: %w", err)
	}
	request, err := http.NewRequest(http.MethodGet, "https://"+s.address.String()+report.Path, nil)
	if err != nil {
		return nil, err
	}
	h := &https{identity: s.identity(), request: request}
	h.transport = &http.Transport{
		TLSClientConfig: &tls.Config{
			MinVersion: tls.VersionTLS13, RootCAs: pool, Certificates: []tls.Certificate{own},
			ServerName: h.identity, VerifyConnection: h.verify,
			// A late answer costs its connection. With thousands of agents and
			// little time, whole handshakes would then leave less of it.
			ClientSessionCache: tls.NewLRUClientSessionCache(1),
		},
		MaxConnsPerHost: 1, MaxResponseHeaderBytes: maxHeader, IdleConnTimeout: idleTime,
		DisableCompression: true, // what is small unpacked is not read large
		ReadBufferSize:     2 << 10, WriteBufferSize: 1 << 10,
	}
	return h, nil
}

// verify adds to what crypto/tls has checked that the certificate names the
// backend itself and not, say, all of a domain.
func (h *https) verify(state tls.ConnectionState) error {
	if report.SpeaksFor(state.PeerCertificates[0], h.identity) {
		return nil
	}
	return &failure{ReasonIdentity, fmt.Errorf("the certificate does not name %s", h.identity)}
}

func (h *https) ask(ctx context.Context) (report.Report, error) {
	resp, err := h.transport.RoundTrip(h.request.WithContext(ctx)) // no redirects
	if err != nil {
		return report.Report{}, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return report.Report{}, &failure{ReasonStatus, fmt.Errorf("HTTP status %d", resp.StatusCode)}
	}
	r, err := report.Read(resp.Body)
	if late := ctx.Err(); late != nil {
		return report.Report{}, late // a peer that learns of it may still end its answer well
	}
	if err == nil && r.Backend != h.identity {
		err = &failure{ReasonIdentity, fmt.Errorf("the report is of %s, not of %s", r.Backend, h.identity)}
	}
	return r, err
}

func (h *https) close() { h.transport.CloseIdleConnections() }
