package agents

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"weir/agent/report"
)

// A handshake that takes longer than a question is there for the next.
func TestSlowHandshakeIsNotLost(t *testing.T) {
	ca := newAuthority(t)
	pair := ca.Issue(t, forLoopback())
	begun, goOn := atomic.Int32{}, make(chan struct{})
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{
		MinVersion: tls.VersionTLS13, ClientAuth: tls.RequireAnyClientCert,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			begun.Add(1)
			<-goOn
			return &pair, nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write(encode(t, goodReport(1)))
	})}
	go func() { _ = srv.Serve(l) }()
	t.Cleanup(func() { srv.Close() })
	asker, err := open(loopback(ca.agent(uint16(l.Addr().(*net.TCPAddr).Port))), newPace())
	if err != nil {
		t.Fatal(err)
	}
	defer asker.close()
	for range 3 {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		if _, err := asker.ask(ctx); reasonOf(err) != ReasonTimeout {
			t.Errorf("heard %v", err)
		}
		cancel()
	}
	close(goOn)
	if r, err := asker.ask(t.Context()); err != nil || r.Seq != 1 {
		t.Errorf("heard %+v, %v", r, err)
	}
	if n := begun.Load(); n != 1 {
		t.Errorf("%d handshakes were begun", n)
	}
}

// What failed while nobody asked is tried again, not reported late.
func TestFailedDialIsNotKept(t *testing.T) {
	ca := newAuthority(t)
	h, err := newHTTPS(loopback(ca.agent(ca.serveTLS(forLoopback(), body(reported(`"values":{}`))))), newPace())
	if err != nil {
		t.Fatal(err)
	}
	defer h.close()
	h.dialing = &dialing{cancel: func() {}, done: make(chan struct{}), err: &failure{report.Malformed, net.ErrClosed}}
	close(h.dialing.done)
	if _, err := h.ask(t.Context()); err != nil {
		t.Error(err)
	}
}

// Nobody's agent is to blame for a turn that has not come.
func TestWaitingForATurnIsLocal(t *testing.T) {
	ca, p := newAuthority(t), newPace()
	p.next = time.Now().Add(time.Hour)
	asker, err := open(loopback(ca.agent(1)), p)
	if err != nil {
		t.Fatal(err)
	}
	defer asker.close()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := asker.ask(ctx); reasonOf(err) != ReasonLocal {
		t.Errorf("%v (%s)", err, reasonOf(err))
	}
}

func TestPace(t *testing.T) {
	p, now := &pace{every: 2 * time.Millisecond}, time.Unix(1000, 0)
	for i := range 5 {
		if got, want := p.turn(now), time.Duration(i)*p.every; got != want {
			t.Errorf("turn %d is in %s, want %s", i, got, want)
		}
	}
	if got := p.turn(now.Add(9 * time.Millisecond)); got != time.Millisecond {
		t.Errorf("a later turn is in %s", got)
	}
	if got := p.turn(now.Add(time.Second)); got != 0 {
		t.Errorf("after a pause the turn is in %s", got)
	}
}
