package agents

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"log"
	"net"
	"net/http"
	"net/netip"
	"testing"
	"time"

	"weir/agent/report"
	"weir/loader/lb"
	"weir/loader/testpeer"
)

// askTimeout is that of answers which shall be late.
const askTimeout = 150 * time.Millisecond

// authority makes certificates.
type authority struct {
	testing.TB
	*testpeer.Authority
}

func newAuthority(t testing.TB) *authority {
	t.Helper()
	return &authority{t, testpeer.NewAuthority(t)}
}

func forLoopback() *x509.Certificate {
	return &x509.Certificate{IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
}

// agent is how agents of this authority are asked.
func (a *authority) agent(port uint16) lb.Agent {
	cert, key := testpeer.Text(a, a.Issue(a, &x509.Certificate{DNSNames: []string{"balancer"}}))
	return lb.Agent{Protocol: lb.AgentWeir, Port: port, CA: a.PEM, Certificate: cert, Key: key, Interval: time.Second, Timeout: 5 * time.Second}
}

// serveTLS serves with a certificate to those who show one of ours, and gives
// the port.
func (a *authority) serveTLS(template *x509.Certificate, h http.HandlerFunc) uint16 {
	a.Helper()
	pool := x509.NewCertPool()
	pool.AddCert(a.Cert)
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{
		MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{a.Issue(a, template)}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool,
	})
	if err != nil {
		a.Fatal(err)
	}
	srv := &http.Server{Handler: h, ReadHeaderTimeout: time.Minute, ErrorLog: log.New(io.Discard, "", 0)}
	go func() { _ = srv.Serve(l) }()
	a.Cleanup(func() { srv.Close() })
	return uint16(l.Addr().(*net.TCPAddr).Port)
}

// serveTCP calls serve for each connection, and gives the port.
func serveTCP(t testing.TB, serve func(net.Conn)) uint16 {
	t.Helper()
	return testpeer.ServeTCP(t, serve).Port()
}

func loopback(a lb.Agent) source {
	return source{netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), a.Port), a}
}

// askOnce asks one agent.
func askOnce(t testing.TB, a lb.Agent) (report.Report, error) {
	t.Helper()
	asker, err := open(loopback(a), newPace())
	if err != nil {
		t.Fatal(err)
	}
	defer asker.close()
	ctx, cancel := context.WithTimeout(t.Context(), a.Timeout)
	defer cancel()
	begin := time.Now()
	r, err := asker.ask(ctx)
	if took := time.Since(begin); took > a.Timeout+time.Second {
		t.Errorf("the answer took %s, the timeout is %s", took, a.Timeout)
	}
	return r, err
}

// goodReport is one that is taken.
func goodReport(seq uint64) report.Report {
	return report.Report{Backend: "127.0.0.1", Boot: "a1", Seq: seq, Age: 10 * time.Millisecond, Tau: 2 * time.Second,
		Rate: 100, Values: map[string]float64{"cpu": 0.5, "memory": 0.25}}
}

func encode(t testing.TB, r report.Report) []byte {
	t.Helper()
	body, err := report.Encode(r)
	if err != nil {
		t.Fatal(err)
	}
	return body
}
