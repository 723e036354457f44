package certs

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Pebble is an authority for tests, by those who run Let's Encrypt.
const (
	pebble    = "github.com/letsencrypt/pebble/v2/cmd/pebble@v2.10.3"
	challtest = "github.com/letsencrypt/pebble/v2/cmd/pebble-challtestsrv@v2.10.3"
)

// TestACME has certificates issued by a real authority, once by each challenge.
func TestACME(t *testing.T) {
	bin := t.TempDir()
	install(t, bin, pebble)
	install(t, bin, challtest)
	for _, c := range []struct {
		name string
		set  func(*ACME)
	}{
		{"HTTP-01", func(a *ACME) { a.NoTLS = true }},
		{"TLS-ALPN-01", func(a *ACME) { a.NoHTTP = true }},
	} {
		t.Run(c.name, func(t *testing.T) {
			plain, secure := listen(t), listen(t)
			directory, ca := authorityServer(t, bin, plain, secure)
			a := ACME{Hosts: []string{"www.example.test"}, Directory: directory, CA: ca, Dir: t.TempDir(), Email: "admin@example.test"}
			c.set(&a)
			told := make(chan Notice, 100)
			s := open(t, Options{ACME: &a, Strict: true, Notify: func(n Notice) { told <- n }})
			ctx, cancel := context.WithCancel(t.Context())
			ended := make(chan error, 1)
			serveChallenges(t, s, plain, secure)
			go func() { ended <- s.Run(ctx) }()
			awaitLoaded(t, told)
			state, err := shake(t, s, &tls.Config{ServerName: "www.example.test", InsecureSkipVerify: true})
			if err != nil {
				t.Fatal(err)
			}
			if leaf := state.PeerCertificates[0]; leaf.VerifyHostname("www.example.test") != nil || !strings.Contains(leaf.Issuer.CommonName, "Pebble") {
				t.Errorf("certificate of %v by %s", leaf.DNSNames, leaf.Issuer)
			}
			if all := s.List(); len(all) != 1 || all[0].Source != "acme" || all[0].DaysLeft < 1 {
				t.Errorf("list %+v", all)
			}
			if _, err := shake(t, s, &tls.Config{ServerName: "other.example.test", InsecureSkipVerify: true}); err == nil {
				t.Error("a host that is nobody's got a certificate")
			}
			cancel()
			if err := <-ended; err != nil {
				t.Error(err)
			}
		})
	}
}

func install(t *testing.T, dir, command string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "install", command)
	cmd.Dir = dir // outside of the module
	cmd.Env = append(os.Environ(), "GOBIN="+dir, "GOFLAGS=")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go install %s: %v\n%s", command, err, out)
	}
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

func portOf(l net.Listener) int { return l.Addr().(*net.TCPAddr).Port }

// free is a port that nobody listens on.
func free(t *testing.T) int {
	t.Helper()
	l := listen(t)
	defer l.Close()
	return portOf(l)
}

// authorityServer starts an authority that looks for challenges at the given
// listeners, and says where it is and what its own certificate is signed by.
func authorityServer(t *testing.T, bin string, plain, secure net.Listener) (directory, ca string) {
	t.Helper()
	own, dir := newAuthority(t, "authority"), t.TempDir()
	pair := put(t, dir, "api", own.issue(t, want{hosts: []string{"127.0.0.1"}}))
	api, dns := free(t), free(t)
	config := map[string]any{"pebble": map[string]any{
		"listenAddress": fmt.Sprintf("127.0.0.1:%d", api), "managementListenAddress": "",
		"certificate": pair.Certificate, "privateKey": pair.Key,
		"httpPort": portOf(plain), "tlsPort": portOf(secure),
		"ocspResponderURL": "", "externalAccountBindingRequired": false,
		"profiles": map[string]any{"default": map[string]any{"description": "default", "validityPeriod": 7776000}},
	}}
	text, err := json.Marshal(config)
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "pebble.json"), text)
	start(t, exec.Command(filepath.Join(bin, "pebble-challtestsrv"), "-defaultIPv6", "", "-defaultIPv4", "127.0.0.1",
		"-dnsserver", fmt.Sprintf("127.0.0.1:%d", dns), "-doh", "", "-http01", "", "-https01", "", "-tlsalpn01", "", "-management", fmt.Sprintf("127.0.0.1:%d", free(t))), "")
	cmd := exec.Command(filepath.Join(bin, "pebble"), "-config", filepath.Join(dir, "pebble.json"), "-dnsserver", fmt.Sprintf("127.0.0.1:%d", dns))
	cmd.Env = append(os.Environ(), "PEBBLE_VA_NOSLEEP=1", "PEBBLE_WFE_NONCEREJECT=0", "PEBBLE_VA_ALWAYS_VALID=0")
	start(t, cmd, "Listening on")
	return fmt.Sprintf("https://127.0.0.1:%d/dir", api), own.file(t)
}

// start runs a program until the test ends, and waits until it says a word.
func start(t *testing.T, cmd *exec.Cmd, word string) {
	t.Helper()
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = cmd.Stdout
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	said := make(chan bool, 1)
	done := make(chan bool)
	var log strings.Builder
	go func() {
		defer close(done)
		lines := bufio.NewScanner(out)
		for lines.Scan() {
			log.WriteString(lines.Text() + "\n")
			if word != "" && strings.Contains(lines.Text(), word) {
				select {
				case said <- true:
				default:
				}
			}
		}
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-done
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("%s:\n%s", filepath.Base(cmd.Path), log.String())
		}
	})
	if word == "" {
		return
	}
	select {
	case <-said:
	case <-done:
		t.Fatalf("%s ended", cmd.Path)
	case <-time.After(30 * time.Second):
		t.Fatalf("%s did not say %q", cmd.Path, word)
	}
}

// serveChallenges answers at the ports where the authority looks.
func serveChallenges(t *testing.T, s *Store, plain, secure net.Listener) {
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		text, answered := s.Challenge(r.Context(), r.Host, r.URL.Path)
		if !answered {
			http.NotFound(w, r)
			return
		}
		w.Write(text)
	})}
	t.Cleanup(func() { server.Close() })
	go func() { _ = server.Serve(plain) }()
	go func() {
		for {
			conn, err := secure.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				_ = tls.Server(conn, s.Config()).HandshakeContext(t.Context())
			}()
		}
	}()
}

func awaitLoaded(t *testing.T, told <-chan Notice) {
	t.Helper()
	late := time.After(60 * time.Second)
	for {
		select {
		case n := <-told:
			if n.Kind == Loaded {
				return
			}
			t.Log(n)
		case <-late:
			t.Fatal(errors.New("no certificate was issued in a minute"))
		}
	}
}
