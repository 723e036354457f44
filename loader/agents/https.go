package agents

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"

	"weir/agent/report"
)

// https asks an agent of ours. It keeps one connection.
type https struct {
	identity string
	address  string
	request  []byte
	config   *tls.Config
	pace     *pace
	kept     *kept    // nil: none
	dialing  *dialing // nil: nobody connects
}

func newHTTPS(s source, p *pace) (*https, error) {
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM([]byte(s.agent.CA)) {
		return nil, fmt.Errorf("ca has no PEM certificate")
	}
	own, err := tls.X509KeyPair([]byte(s.agent.Certificate), []byte(s.agent.Key))
	if err != nil {
		return nil, fmt.Errorf("certificate and key: %w", err)
	}
	h := &https{identity: s.identity(), address: s.address.String(), pace: p}
	h.request = []byte("GET " + report.Path + " HTTP/1.1\r\nHost: " + h.address + "\r\nUser-Agent: weir\r\n\r\n")
	h.config = &tls.Config{
		MinVersion: tls.VersionTLS13, RootCAs: pool, Certificates: []tls.Certificate{own},
		ServerName: h.identity, VerifyConnection: h.verify,
		// A late answer costs its connection. With thousands of agents and
		// little time, whole handshakes would then leave less of it.
		ClientSessionCache: tls.NewLRUClientSessionCache(1),
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
	r, err := h.hear(ctx)
	if late := ctx.Err(); late != nil && reasonOf(err) != ReasonLocal {
		h.drop()
		return report.Report{}, late // a peer that learns of it may still end its answer well
	}
	if err == nil && r.Backend != h.identity {
		err = &failure{ReasonIdentity, fmt.Errorf("the report is of %s, not of %s", r.Backend, h.identity)}
	}
	return r, err
}

// hear asks on the connection that is kept, or on a new one if there is none or
// the agent has ended it meanwhile.
func (h *https) hear(ctx context.Context) (report.Report, error) {
	if h.kept != nil && h.kept.fresh() {
		r, err := h.exchange(ctx)
		if err == nil || h.kept == nil || !h.kept.ended {
			return r, err
		}
	}
	h.drop()
	if err := h.connect(ctx); err != nil {
		return report.Report{}, err
	}
	return h.exchange(ctx)
}

// connect awaits a connection. One that takes longer than this question may is
// there for the next: else a busy moment in which thousands connect would never
// end, as each handshake would be begun again and again.
func (h *https) connect(ctx context.Context) error {
	if h.dialing == nil || h.dialing.failed() {
		h.dialing = h.dial()
	}
	select {
	case <-h.dialing.done:
	case <-ctx.Done():
		return h.dialing.late(ctx.Err())
	}
	var err error
	h.kept, err = h.dialing.kept, h.dialing.err
	h.dialing = nil
	return err
}

// exchange asks once. A connection that cannot serve the next question is
// closed.
func (h *https) exchange(ctx context.Context) (report.Report, error) {
	r, again, err := h.kept.ask(ctx, h.request)
	if !again && !h.kept.ended {
		h.drop()
	}
	return r, err
}

// drop closes the connection, if there is one.
func (h *https) drop() {
	if h.kept != nil {
		_ = h.kept.conn.Close()
		h.kept = nil
	}
}

func (h *https) close() {
	h.drop()
	if d := h.dialing; d != nil {
		d.cancel()
		<-d.done
		if d.kept != nil {
			_ = d.kept.conn.Close()
		}
		h.dialing = nil
	}
}
