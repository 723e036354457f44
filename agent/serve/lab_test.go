package serve_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"weir/agent/keys"
	"weir/agent/report"
	"weir/agent/serve"
)

// lab is an authority with agents and a balancer.
type lab struct {
	t   *testing.T
	dir string
}

func newLab(t *testing.T) *lab {
	l := &lab{t, t.TempDir()}
	l.make(keys.Options{Backends: []string{"127.0.0.1", "10.0.0.11"}, Balancers: []string{"lb"}, Valid: time.Hour, Now: time.Now()})
	return l
}

func (l *lab) make(o keys.Options) {
	l.t.Helper()
	o.Dir, o.AuthorityValid = l.dir, 1000*time.Hour
	if _, err := keys.Make(o); err != nil {
		l.t.Fatal(err)
	}
}

func (l *lab) path(name string) string { return filepath.Join(l.dir, name) }

func (l *lab) files(name string) serve.Files {
	return serve.Files{CA: l.path("ca.crt"), Cert: l.path(name + ".crt"), Key: l.path(name + ".key")}
}

// client asks with a certificate, or with none.
func (l *lab) client(name string) *http.Client {
	l.t.Helper()
	return &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{TLSClientConfig: l.tls(name)}}
}

func (l *lab) tls(name string) *tls.Config {
	l.t.Helper()
	text, err := os.ReadFile(l.path("ca.crt"))
	if err != nil {
		l.t.Fatal(err)
	}
	c := &tls.Config{RootCAs: x509.NewCertPool(), ServerName: "127.0.0.1"}
	c.RootCAs.AppendCertsFromPEM(text)
	if name != "" {
		pair, err := tls.LoadX509KeyPair(l.path(name+".crt"), l.path(name+".key"))
		if err != nil {
			l.t.Fatal(err)
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return c
}

// reports runs a report server until the test ends.
func (l *lab) reports(name string) *serve.Reports {
	l.t.Helper()
	var seq atomic.Uint64
	s, err := serve.NewReports("127.0.0.1:0", "", l.files(name), func() report.Report {
		return report.Report{Boot: "b", Seq: seq.Add(1), Values: map[string]float64{"cpu": 0.5}}
	})
	if err != nil {
		l.t.Fatal(err)
	}
	run(l.t, s.Run)
	return s
}

// run runs something until the test ends, which waits for it.
func run(t *testing.T, what func(context.Context) error) {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- what(ctx) }()
	t.Cleanup(func() {
		stop()
		select {
		case err := <-ended:
			if err != nil {
				t.Error(err)
			}
		case <-time.After(20 * time.Second):
			t.Error("does not end")
		}
	})
}
