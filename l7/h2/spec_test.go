package h2

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/xml"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"weir/l7/exchange"
)

// h2spec is the conformance suite that its authors publish as a module.
const h2spec = "github.com/summerwind/h2spec/cmd/h2spec@v2.2.1+incompatible"

// TestSpec runs h2spec, its strict cases too, over TLS.
func TestSpec(t *testing.T) {
	e := New(Options{}, exchange.HandlerFunc(func(x *exchange.Exchange) {
		x.Response.Status = 200
		x.Response.SetBytes([]byte("hello from the end"))
	}))
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{certificate(t)}, NextProtos: []string{"h2"}})
	if err != nil {
		t.Fatal(err)
	}
	accept(t, l, func(conn net.Conn) {
		defer conn.Close()
		if conn.(*tls.Conn).HandshakeContext(t.Context()) == nil {
			e.Serve(t.Context(), conn, &exchange.Client{}, nil)
		}
	})
	report := filepath.Join(t.TempDir(), "report.xml")
	port := strconv.Itoa(l.Addr().(*net.TCPAddr).Port)
	out, runErr := exec.CommandContext(t.Context(), build(t), "-S", "-t", "-k", "-h", "127.0.0.1", "-p", port, "-o", "1", "-j", report).CombinedOutput()
	failed, all := verdicts(t, report)
	if all < 140 {
		t.Fatalf("h2spec ran %d cases: %v\n%s", all, runErr, out)
	}
	t.Logf("h2spec -S: %d cases, failed: %q", all, failed)
	if len(failed) > 0 {
		t.Errorf("%d cases fail\n%s", len(failed), out)
	}
}

// build makes the suite's program.
func build(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	cmd := exec.CommandContext(t.Context(), "go", "install", h2spec)
	cmd.Env = append(os.Environ(), "GOBIN="+dir, "GOFLAGS=")
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("install h2spec: %v\n%s", err, out)
	}
	return filepath.Join(dir, "h2spec")
}

// verdicts reads the report, which is in JUnit's form.
func verdicts(t *testing.T, file string) (failed []string, all int) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var report struct {
		Suites []struct {
			Cases []struct {
				Package string    `xml:"package,attr"`
				Name    string    `xml:"classname,attr"`
				Failure *struct{} `xml:"failure"`
				Error   *struct{} `xml:"error"`
			} `xml:"testcase"`
		} `xml:"testsuite"`
	}
	if err := xml.Unmarshal(text, &report); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	for _, s := range report.Suites {
		for _, c := range s.Cases {
			all++
			if c.Failure != nil || c.Error != nil {
				failed = append(failed, c.Package+": "+c.Name)
			}
		}
	}
	return failed, all
}

func certificate(t *testing.T) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	about := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{"localhost"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, about, about, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}
