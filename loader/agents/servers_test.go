package agents

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/netip"
	"testing"
	"time"

	"weir/agent/report"
	"weir/loader/lb"
)

// askTimeout is that of answers which shall be late.
const askTimeout = 150 * time.Millisecond

// authority makes certificates.
type authority struct {
	testing.TB
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pem  string
}

func newAuthority(t testing.TB) *authority {
	t.Helper()
	a := &authority{TB: t}
	a.key, a.cert, a.pem = a.make(&x509.Certificate{IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}, nil)
	return a
}

func (a *authority) make(template *x509.Certificate, by *authority) (*ecdsa.PrivateKey, *x509.Certificate, string) {
	a.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.Fatal(err)
	}
	template.SerialNumber = big.NewInt(time.Now().UnixNano())
	if template.NotAfter.IsZero() {
		template.NotBefore, template.NotAfter = time.Now().Add(-time.Minute), time.Now().Add(time.Hour)
	}
	parent, signer := template, key
	if by != nil {
		parent, signer = by.cert, by.key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		a.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		a.Fatal(err)
	}
	return key, cert, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

// issue gives a certificate and its key.
func (a *authority) issue(template *x509.Certificate) (certPEM, keyPEM string) {
	a.Helper()
	key, _, certPEM := a.make(template, a)
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		a.Fatal(err)
	}
	return certPEM, string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

func forLoopback() *x509.Certificate {
	return &x509.Certificate{IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
}

// agent is how agents of this authority are asked.
func (a *authority) agent(port uint16) lb.Agent {
	cert, key := a.issue(&x509.Certificate{DNSNames: []string{"balancer"}})
	return lb.Agent{Protocol: lb.AgentWeir, Port: port, CA: a.pem, Certificate: cert, Key: key, Interval: time.Second, Timeout: 5 * time.Second}
}

// serveTLS serves with a certificate to those who show one of ours, and gives
// the port.
func (a *authority) serveTLS(template *x509.Certificate, h http.HandlerFunc) uint16 {
	a.Helper()
	cert, key := a.issue(template)
	pair, err := tls.X509KeyPair([]byte(cert), []byte(key))
	if err != nil {
		a.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{
		MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{pair}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool,
	})
	if err != nil {
		a.Fatal(err)
	}
	srv := &http.Server{Handler: h, ReadHeaderTimeout: time.Minute, ErrorLog: log.New(io.Discard, "", 0)}
	go func() { _ = srv.Serve(l) }()
	a.Cleanup(func() { srv.Close() })
	return uint16(l.Addr().(*net.TCPAddr).Port)
}

// serveTCP calls serve for each connection, after the first line or at once.
func serveTCP(t testing.TB, await bool, serve func(net.Conn)) uint16 {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				if await {
					_, _ = bufio.NewReader(c).ReadString('\n')
				}
				serve(c)
			}()
		}
	}()
	return uint16(l.Addr().(*net.TCPAddr).Port)
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
