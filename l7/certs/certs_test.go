package certs

import (
	"crypto/rand"
	"crypto/tls"
	"encoding/base64"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

func open(t testing.TB, o Options) *Store {
	t.Helper()
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestChoice(t *testing.T) {
	ca, dir := newAuthority(t, "ca"), t.TempDir()
	pairs := []Pair{
		put(t, dir, "rsa", ca.issue(t, want{hosts: []string{"www.example.org"}, rsa: true})),
		put(t, dir, "ecdsa", ca.issue(t, want{hosts: []string{"www.example.org", "127.0.0.1"}})),
		put(t, dir, "wild", ca.issue(t, want{hosts: []string{"*.example.org"}})),
		put(t, dir, "other", ca.issue(t, want{hosts: []string{"Other.Example"}})),
	}
	onlyRSA := []uint16{tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256}
	for _, c := range []struct {
		name, host string
		suites     []uint16
		strict     bool
		want       string // hosts and algorithm
		fails      string
	}{
		{name: "exact", host: "www.example.org", want: "www.example.org ECDSA"},
		{name: "upper case", host: "WWW.EXAMPLE.org", want: "www.example.org ECDSA"},
		{name: "client without ECDSA", host: "www.example.org", suites: onlyRSA, want: "www.example.org RSA"},
		{name: "wildcard", host: "a.example.org", want: "*.example.org ECDSA"},
		{name: "name in upper case", host: "other.example", want: "Other.Example ECDSA"},
		{name: "wildcard is one label", host: "a.b.example.org", want: "www.example.org RSA"},
		{name: "unknown", host: "unknown.example", want: "www.example.org RSA"},
		{name: "none", want: "www.example.org RSA"},
		{name: "unknown, strict", host: "unknown.example", strict: true, fails: "unrecognized name"},
		{name: "none, strict", strict: true, want: "www.example.org RSA"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := open(t, Options{Pairs: pairs, Strict: c.strict})
			client := &tls.Config{ServerName: c.host, InsecureSkipVerify: true, CipherSuites: c.suites}
			if c.suites != nil {
				client.MaxVersion = tls.VersionTLS12
			}
			state, err := shake(t, s, client)
			if c.fails != "" {
				if err == nil || !strings.Contains(err.Error(), c.fails) {
					t.Fatalf("error %v, want %s", err, c.fails)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			leaf := state.PeerCertificates[0]
			if got := leaf.DNSNames[0] + " " + leaf.PublicKeyAlgorithm.String(); got != c.want {
				t.Errorf("%s, want %s", got, c.want)
			}
		})
	}
}

func TestRefused(t *testing.T) {
	ca, dir := newAuthority(t, "ca"), t.TempDir()
	good, other := ca.issue(t, want{hosts: []string{"a.example"}}), ca.issue(t, want{hosts: []string{"a.example"}})
	pair := func(name string, m made) []Pair { return []Pair{put(t, dir, name, m)} }
	short := filepath.Join(dir, "short.keys")
	write(t, short, []byte("# keys\n"+base64.StdEncoding.EncodeToString(make([]byte, 31))+"\n"))
	for _, c := range []struct {
		name string
		o    Options
		want string
	}{
		{"nothing", Options{}, "needs a pair of files or ACME"},
		{"no file", Options{Pairs: []Pair{{"/none.pem", "/none.key"}}}, "/none.pem"},
		{"no key", Options{Pairs: []Pair{{pair("a", good)[0].Certificate, "/none.key"}}}, "/none.key"},
		{"another's key", Options{Pairs: pair("b", made{good.chain, other.key})}, "does not match"},
		{"no PEM", Options{Pairs: pair("c", made{[]byte("hello"), good.key})}, "c.pem"},
		{"no host", Options{Pairs: pair("d", ca.issue(t, want{}))}, ""},
		{"no hosts of clients", Options{Pairs: pair("e", good), Clients: []ClientAuth{{CA: ca.file(t)}}}, "no hosts"},
		{"no authority of clients", Options{Pairs: pair("f", good), Clients: []ClientAuth{{Hosts: []string{"a"}, CA: "/none"}}}, "/none"},
		{"empty authority of clients", Options{Pairs: pair("g", good), Clients: []ClientAuth{{Hosts: []string{"a"}, CA: os.DevNull}}}, "no PEM certificate"},
		{"no ticket keys", Options{Pairs: pair("h", good), TicketKeys: os.DevNull}, "no key in it"},
		{"short ticket key", Options{Pairs: pair("i", good), TicketKeys: short}, "short.keys:2: not 32 bytes"},
		{"no ACME hosts", Options{ACME: &ACME{}}, "no hosts"},
		{"no ACME directory", Options{ACME: &ACME{Hosts: []string{"a"}}}, "no directory"},
		{"no ACME challenge", Options{ACME: &ACME{Hosts: []string{"a"}, Dir: dir, NoHTTP: true, NoTLS: true}}, "both off"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := New(c.o)
			if c.want == "" {
				if err != nil {
					t.Error(err) // the common name stands in
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want %q", err, c.want)
			}
		})
	}
}

// notices collects what a store tells.
type notices struct {
	mu  sync.Mutex
	all []Notice
}

func (n *notices) add(x Notice) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.all = append(n.all, x)
}

func (n *notices) kinds() (all []NoticeKind) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, x := range n.all {
		all = append(all, x.Kind)
	}
	return all
}

func serialOf(t *testing.T, s *Store) string {
	t.Helper()
	state, err := shake(t, s, &tls.Config{ServerName: "a.example", InsecureSkipVerify: true})
	if err != nil {
		t.Fatal(err)
	}
	return state.PeerCertificates[0].SerialNumber.String()
}

func TestReload(t *testing.T) {
	ca, dir := newAuthority(t, "ca"), t.TempDir()
	first := ca.issue(t, want{hosts: []string{"a.example"}})
	second := ca.issue(t, want{hosts: []string{"a.example", "b.example"}})
	told := &notices{}
	s := open(t, Options{Pairs: []Pair{put(t, dir, "a", first)}, Notify: told.add})
	before := serialOf(t, s)

	put(t, dir, "a", made{second.chain, first.key}) // half of a swap
	s.Reload()
	s.Reload()
	if serialOf(t, s) != before {
		t.Error("a pair that does not match is in use")
	}
	if got := told.kinds(); len(got) != 1 || got[0] != Refused {
		t.Errorf("notices %v, want one of the refusal", got)
	}
	if i := s.List()[0]; i.Error == "" || len(i.Hosts) != 1 {
		t.Errorf("list: %+v", i)
	}

	put(t, dir, "a", second)
	s.Reload()
	if serialOf(t, s) == before {
		t.Error("the new pair is not in use")
	}
	if got := told.kinds(); len(got) != 2 || got[1] != Swapped {
		t.Errorf("notices %v, want one of the swap", got)
	}
	if i := s.List()[0]; i.Error != "" || len(i.Hosts) != 2 || i.DaysLeft != 29 || i.Expiring {
		t.Errorf("list: %+v", i)
	}
	if err := os.Remove(filepath.Join(dir, "a.key")); err != nil {
		t.Fatal(err)
	}
	s.Reload()
	if serialOf(t, s) == before || s.List()[0].Error == "" {
		t.Error("a file that is gone")
	}
}

// Handshakes never fail while files are swapped, whatever moment they meet.
func TestSwapUnderHandshakes(t *testing.T) {
	ca, dir := newAuthority(t, "ca"), t.TempDir()
	var pairs [4]made
	for i := range pairs {
		pairs[i] = ca.issue(t, want{hosts: []string{"a.example"}})
	}
	s := open(t, Options{Pairs: []Pair{put(t, dir, "a", pairs[0])}})
	done := make(chan bool)
	var swapping sync.WaitGroup
	swapping.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-done:
				return
			default:
			}
			m := pairs[i%len(pairs)]
			write(t, filepath.Join(dir, "a.pem"), m.chain)
			s.Reload() // sees half of the swap
			write(t, filepath.Join(dir, "a.key"), m.key)
			s.Reload()
		}
	})
	var shaking sync.WaitGroup
	seen := map[string]bool{}
	var mu sync.Mutex
	for range 4 {
		shaking.Go(func() {
			for range 100 {
				state, err := shake(t, s, &tls.Config{ServerName: "a.example", RootCAs: ca.pool()})
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				seen[state.PeerCertificates[0].SerialNumber.String()] = true
				mu.Unlock()
			}
		})
	}
	shaking.Wait()
	close(done)
	swapping.Wait()
	if len(seen) < 2 {
		t.Errorf("%d certificates were seen: nothing was swapped", len(seen))
	}
}

func TestExpiring(t *testing.T) {
	ca, dir := newAuthority(t, "ca"), t.TempDir()
	told := &notices{}
	s := open(t, Options{Notify: told.add, Pairs: []Pair{
		put(t, dir, "a", ca.issue(t, want{hosts: []string{"a.example"}, ends: 20 * 24 * time.Hour})),
		put(t, dir, "b", ca.issue(t, want{hosts: []string{"b.example"}, ends: 22 * 24 * time.Hour})),
	}})
	s.warn()
	s.warn()
	if len(told.all) != 1 || told.all[0].Kind != Expiring || !strings.Contains(told.all[0].Text, "[a.example]") ||
		!strings.Contains(told.all[0].Text, "19 days") {
		t.Errorf("notices %v", told.all)
	}
}

func TestClients(t *testing.T) {
	ca, strangers, dir := newAuthority(t, "ca"), newAuthority(t, "strangers"), t.TempDir()
	show := func(a *authority) []tls.Certificate {
		m := a.issue(t, want{hosts: []string{"client"}})
		c, err := tls.X509KeyPair(m.chain, m.key)
		if err != nil {
			t.Fatal(err)
		}
		return []tls.Certificate{c}
	}
	s := open(t, Options{
		Pairs: []Pair{put(t, dir, "a", ca.issue(t, want{hosts: []string{"*.example", "*.in.example"}}))},
		Clients: []ClientAuth{
			{Hosts: []string{"closed.example", "*.in.example"}, CA: ca.file(t)},
			{Hosts: []string{"either.example"}, CA: ca.file(t), Optional: true},
		},
	})
	for _, c := range []struct {
		name, host string
		shows      []tls.Certificate
		verified   bool
		fails      bool
	}{
		{"open", "open.example", nil, false, false},
		{"open, shown", "open.example", show(ca), false, false},
		{"required and shown", "closed.example", show(ca), true, false},
		{"required by wildcard and shown", "x.in.example", show(ca), true, false},
		{"required and not shown", "closed.example", nil, false, true},
		{"required by wildcard and not shown", "x.in.example", nil, false, true},
		{"required, of a stranger", "closed.example", show(strangers), false, true},
		{"optional and shown", "either.example", show(ca), true, false},
		{"optional and not shown", "either.example", nil, false, false},
		{"optional, of a stranger", "either.example", show(strangers), false, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			var verified bool
			client := &tls.Config{
				ServerName: c.host, RootCAs: ca.pool(),
				GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
					verified = true // was asked
					if c.shows == nil {
						verified = false
						return &tls.Certificate{}, nil
					}
					return &c.shows[0], nil
				},
			}
			_, err := shake(t, s, client)
			if (err != nil) != c.fails || (!c.fails && verified != c.verified) {
				t.Errorf("error %v, certificate asked for and shown: %t", err, verified)
			}
		})
	}
	for host, shown := range map[string]bool{"closed.example": true, "X.IN.example": true, "in.example": false, "a.b.in.example": false, "open.example": false} {
		if s.ClientsShow(host) != shown {
			t.Errorf("ClientsShow(%q) is %t", host, !shown)
		}
	}
}

// sessions keeps one session whatever host it is of, as an attacker might.
type sessions struct{ state *tls.ClientSessionState }

func (s *sessions) Get(string) (*tls.ClientSessionState, bool) { return s.state, s.state != nil }
func (s *sessions) Put(_ string, c *tls.ClientSessionState) {
	if c != nil {
		s.state = c
	}
}

func TestTickets(t *testing.T) {
	ca, dir := newAuthority(t, "ca"), t.TempDir()
	clock := time.Now()
	keys := filepath.Join(dir, "keys")
	key := func() string {
		var k [32]byte
		rand.Read(k[:])
		return base64.StdEncoding.EncodeToString(k[:]) + "\n"
	}
	k1, k2 := key(), key()
	write(t, keys, []byte(k1))
	options := Options{
		Pairs:   []Pair{put(t, dir, "a", ca.issue(t, want{hosts: []string{"*.example"}}))},
		Clients: []ClientAuth{{Hosts: []string{"either.example"}, CA: ca.file(t), Optional: true}},
		Now:     func() time.Time { return clock },
	}
	shared := options
	shared.TicketKeys = keys
	own, one, two := open(t, options), open(t, shared), open(t, shared)
	resumes := func(s *Store, host string, cache *sessions) bool {
		t.Helper()
		state, err := shake(t, s, &tls.Config{ServerName: host, RootCAs: ca.pool(), ClientSessionCache: cache})
		if err != nil {
			t.Fatal(err)
		}
		return state.DidResume
	}
	for _, c := range []struct {
		name string
		want bool
		then func(*sessions) bool
		from *Store
	}{
		{"same node", true, func(c *sessions) bool { return resumes(own, "a.example", c) }, own},
		{"other keys", false, func(c *sessions) bool { return resumes(own, "a.example", c) }, one},
		{"node with the same file", true, func(c *sessions) bool { return resumes(two, "a.example", c) }, one},
		{"host that asks for certificates", false, func(c *sessions) bool { return resumes(own, "either.example", c) }, own},
		{"after a rotation", true, func(c *sessions) bool {
			clock = clock.Add(12 * time.Hour)
			own.Reload()
			return resumes(own, "a.example", c)
		}, own},
		{"after three rotations", false, func(c *sessions) bool {
			for range 3 {
				clock = clock.Add(12 * time.Hour)
				own.Reload()
			}
			return resumes(own, "a.example", c)
		}, own},
		{"key that is second now", true, func(c *sessions) bool {
			write(t, keys, []byte("# new first\n"+k2+k1))
			two.Reload()
			return resumes(two, "a.example", c)
		}, one},
		{"bad file: the old keys stay", true, func(c *sessions) bool {
			write(t, keys, []byte("nonsense\n"))
			two.Reload()
			return resumes(two, "a.example", c)
		}, one},
	} {
		t.Run(c.name, func(t *testing.T) {
			cache := &sessions{}
			if resumes(c.from, "a.example", cache) {
				t.Fatal("the first handshake resumed")
			}
			if got := c.then(cache); got != c.want {
				t.Errorf("resumed %t, want %t", got, c.want)
			}
		})
	}
}

func TestVersions(t *testing.T) {
	ca, dir := newAuthority(t, "ca"), t.TempDir()
	s := open(t, Options{Pairs: []Pair{put(t, dir, "a", ca.issue(t, want{hosts: []string{"a.example"}}))}, Protocols: []string{"h2", "http/1.1"}})
	_, err := shake(t, s, &tls.Config{ServerName: "a.example", RootCAs: ca.pool(), MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11})
	if err == nil {
		t.Error("TLS 1.1 was spoken")
	}
	state, err := shake(t, s, &tls.Config{ServerName: "a.example", RootCAs: ca.pool(), NextProtos: []string{"http/1.1", "h2"}})
	if err != nil || state.NegotiatedProtocol != "h2" || state.Version != tls.VersionTLS13 {
		t.Errorf("%v, %q, version %x", err, state.NegotiatedProtocol, state.Version)
	}
}
