package keys_test

import (
	"crypto/tls"
	"crypto/x509"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"weir/agent/keys"
	"weir/agent/report"
)

func options(dir string) keys.Options {
	return keys.Options{
		Dir: dir, Backends: []string{"10.0.0.11", "2001:db8::1", "web1.example"}, Balancers: []string{"balancer"},
		Valid: 24 * time.Hour, AuthorityValid: 48 * time.Hour, Now: time.Now(),
	}
}

func made(t *testing.T, o keys.Options) []keys.File {
	t.Helper()
	files, err := keys.Make(o)
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func load(t *testing.T, path string) *x509.Certificate {
	t.Helper()
	p, err := tls.LoadX509KeyPair(path+".crt", path+".key")
	if err != nil {
		t.Fatal(err)
	}
	return p.Leaf
}

func TestMake(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new", "keys")
	files := made(t, options(dir))
	var names []string
	for _, f := range files {
		names = append(names, filepath.Base(f.Path))
		info, err := os.Stat(f.Path)
		if err != nil || info.Mode() != 0o600 {
			t.Errorf("%s: %v, %v", f.Path, info.Mode(), err)
		}
	}
	want := []string{
		"ca.crt", "ca.key", "balancer.crt", "balancer.key", "agent-10.0.0.11.crt", "agent-10.0.0.11.key",
		"agent-2001_db8__1.crt", "agent-2001_db8__1.key", "agent-web1.example.crt", "agent-web1.example.key",
	}
	if !slices.Equal(names, want) {
		t.Errorf("files %q, want %q", names, want)
	}
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("directory: %v, %v", info.Mode(), err)
	}
}

// TestCertificates checks who may do what.
func TestCertificates(t *testing.T) {
	dir := t.TempDir()
	made(t, options(dir))
	roots := x509.NewCertPool()
	roots.AddCert(load(t, filepath.Join(dir, "ca")))
	for name, c := range map[string]struct {
		use  x509.ExtKeyUsage
		name string
		good bool
	}{
		"balancer":           {x509.ExtKeyUsageClientAuth, "", true},
		"balancer ":          {x509.ExtKeyUsageServerAuth, "", false},
		"agent-10.0.0.11":    {x509.ExtKeyUsageServerAuth, "10.0.0.11", true},
		"agent-10.0.0.11 ":   {x509.ExtKeyUsageServerAuth, "10.0.0.12", false},
		"agent-10.0.0.11  ":  {x509.ExtKeyUsageClientAuth, "", false},
		"agent-2001_db8__1":  {x509.ExtKeyUsageServerAuth, "2001:db8::1", true},
		"agent-web1.example": {x509.ExtKeyUsageServerAuth, "web1.example", true},
	} {
		cert := load(t, filepath.Join(dir, strings.TrimSpace(name)))
		_, err := cert.Verify(x509.VerifyOptions{Roots: roots, DNSName: c.name, KeyUsages: []x509.ExtKeyUsage{c.use}})
		if (err == nil) != c.good {
			t.Errorf("%s as %v for %q: %v", name, c.use, c.name, err)
		}
		if c.name != "" && report.SpeaksFor(cert, c.name) != c.good {
			t.Errorf("%s speaks for %s: %v", name, c.name, !c.good)
		}
		if cert.IsCA || time.Until(cert.NotAfter) > 24*time.Hour || time.Since(cert.NotBefore) < 24*time.Hour {
			t.Errorf("%s: authority %v, from %s until %s", name, cert.IsCA, cert.NotBefore, cert.NotAfter)
		}
	}
}

// TestMakeAsLongAsTheAuthority has certificates that end with it.
func TestMakeAsLongAsTheAuthority(t *testing.T) {
	o := options(t.TempDir())
	o.Valid = o.AuthorityValid
	made(t, o)
}

// TestMakeMore adds a backend to an authority that is there.
func TestMakeMore(t *testing.T) {
	dir := t.TempDir()
	made(t, options(dir))
	more := options(dir)
	more.Backends, more.Balancers = []string{"10.0.0.12"}, nil
	if files := made(t, more); len(files) != 2 {
		t.Errorf("files %+v", files)
	}
	ca := load(t, filepath.Join(dir, "ca"))
	if err := load(t, filepath.Join(dir, "agent-10.0.0.12")).CheckSignatureFrom(ca); err != nil {
		t.Error(err)
	}
}

func contents(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		text, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		all[e.Name()] = string(text)
	}
	return all
}

func TestMakeRefuses(t *testing.T) {
	dir := t.TempDir()
	made(t, options(dir))
	for name, c := range map[string]struct {
		change func(*keys.Options)
		want   string
	}{
		"again":            {func(*keys.Options) {}, "balancer.crt is there already"},
		"one is there":     {func(o *keys.Options) { o.Balancers, o.Backends = nil, []string{"10.0.0.13", "10.0.0.11"} }, "agent-10.0.0.11.crt is there already"},
		"one twice":        {func(o *keys.Options) { o.Balancers, o.Backends = nil, []string{"10.0.0.14", "10.0.0.14"} }, "agent-10.0.0.14.crt: file exists"},
		"nobody":           {func(o *keys.Options) { o.Balancers, o.Backends = nil, nil }, "neither a backend nor a balancer"},
		"wildcard":         {func(o *keys.Options) { o.Backends = []string{"*.example"} }, `backend "*.example" is neither`},
		"path":             {func(o *keys.Options) { o.Backends = []string{"../x"} }, `backend "../x" is neither`},
		"balancer's path":  {func(o *keys.Options) { o.Balancers = []string{"a/b"} }, `balancer "a/b" is not a name`},
		"no time":          {func(o *keys.Options) { o.Valid = 0 }, "must be over 0"},
		"outlives":         {func(o *keys.Options) { o.Valid = 72 * time.Hour }, "its authority only until"},
		"ended authority":  {func(o *keys.Options) { o.Now = o.Now.Add(49 * time.Hour) }, "the authority ended on"},
		"no such place":    {func(o *keys.Options) { o.Dir = filepath.Join(dir, "ca.crt", "x") }, "not a directory"},
		"other's key":      {func(o *keys.Options) { o.Dir = swapped(t, dir, "ca.key", "balancer.key") }, "the key is not the certificate's"},
		"not an authority": {func(o *keys.Options) { o.Dir = leafAsAuthority(t, dir) }, "the certificate is no authority's"},
		"nonsense":         {func(o *keys.Options) { o.Dir = written(t, "ca.crt", "ca.key") }, "no certificate in PEM"},
		"half":             {func(o *keys.Options) { o.Dir = written(t, "ca.crt") }, "ca.key: no such file"},
	} {
		o := options(dir)
		c.change(&o)
		before := contents(t, dir)
		if files, err := keys.Make(o); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %+v, %v; want an error with %q", name, files, err, c.want)
		}
		if !maps.Equal(before, contents(t, dir)) {
			t.Errorf("%s: the directory has changed", name)
		}
	}
}

func written(t *testing.T, names ...string) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range names {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("nonsense"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// swapped is a copy of the authority in which one file is another's.
func swapped(t *testing.T, from, name, other string) string {
	t.Helper()
	dir := t.TempDir()
	all := contents(t, from)
	all[name] = all[other]
	for _, n := range []string{"ca.crt", "ca.key"} {
		if err := os.WriteFile(filepath.Join(dir, n), []byte(all[n]), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func leafAsAuthority(t *testing.T, from string) string {
	t.Helper()
	all := contents(t, from)
	dir := t.TempDir()
	for to, name := range map[string]string{"ca.crt": "balancer.crt", "ca.key": "balancer.key"} {
		if err := os.WriteFile(filepath.Join(dir, to), []byte(all[name]), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}
