package cache

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"weir/l7/exchange"
)

func filesIn(t testing.TB, dir string) (all []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			all = append(all, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// onDisk makes a rig with a disk tier that has looked at all its files.
func onDisk(t *testing.T, dir string, size int64, p Policy) *rig {
	t.Helper()
	r := newRig(t, Options{DiskPath: dir, DiskBytes: size, MaxObject: 1 << 20}, p)
	r.origin = func(x *exchange.Exchange) {
		t.Errorf("%s: the origin was asked", x.Request.Target)
		respond(t, x, "500\n\nunexpected")
	}
	until(t, func() bool {
		r.cache.disk.mu.Lock()
		defer r.cache.disk.mu.Unlock()
		return r.cache.disk.purged == nil
	})
	return r
}

func until(t *testing.T, done func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !done(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("waited for too long")
		}
	}
}

func (r *rig) close() {
	r.t.Helper()
	if err := r.cache.Close(); err != nil {
		r.t.Error(err)
	}
}

func TestDiskSurvivesARestart(t *testing.T) {
	dir := t.TempDir()
	r := onDisk(t, dir, 1<<30, Policy{})
	r.origin = func(x *exchange.Exchange) {
		respond(t, x, fmt.Sprintf("200\nCache-Control: max-age=600\nETag: \"a\"\nX-B: c\nVary: X-A\nCache-Tag: t%s\n\n%s of %s",
			x.Request.Path[1:], x.Request.Header.GetText("X-A"), x.Request.Target))
	}
	for _, ask := range []string{"GET /a?x\nX-A: 1", "GET /a?x\nX-A: 2", "GET /b\nX-A: 1"} {
		r.ask(ask)
	}
	r.close()

	r = onDisk(t, dir, 1<<30, Policy{})
	if got := r.ask("GET /a?x\nX-A: 2"); got != "2 of /a?x" {
		t.Errorf("got %q", got)
	}
	got := r.serve(request(t, "GET /a?x\nX-A: 1\nRange: bytes=0-0"))
	if got.body != "1" || got.status != 206 {
		t.Errorf("got %d %q", got.status, got.body)
	}
	check(t, "from disk", "ETag: \"a\"\nX-B: c\n!Cache-Tag\nVary: X-A", got.fields)
	if n := r.cache.Stats().Disk.Hits; n != 1 {
		t.Errorf("the disk was read %d times", n)
	}
	if n := r.cache.PurgeTag("ta"); n != 1 { // known from the files
		t.Errorf("purged %d by tag", n)
	}
	if n, err := r.cache.PurgeURL("http://example.org/b"); n != 1 || err != nil { // never in memory
		t.Errorf("purged %d, %v", n, err)
	}
	r.close()
	if files := filesIn(t, dir); len(files) != 0 {
		t.Errorf("files left %q", files)
	}
}

func TestDiskValidationReplacesTheFile(t *testing.T) {
	dir := t.TempDir()
	r := onDisk(t, dir, 1<<30, Policy{})
	r.origin = func(x *exchange.Exchange) {
		respond(t, x, "200\nCache-Control: max-age=0\nETag: \"a\"\nX-A: old\n\nbody")
	}
	r.ask("GET /")
	r.origin = func(x *exchange.Exchange) { respond(t, x, "304\nCache-Control: max-age=600\nETag: \"a\"\nX-A: new") }
	r.ask("GET /")
	r.close()
	if files := filesIn(t, dir); len(files) != 1 {
		t.Errorf("files %q", files)
	}
	r = onDisk(t, dir, 1<<30, Policy{})
	got := r.serve(request(t, "GET /"))
	check(t, "after a restart", "X-A: new", got.fields)
	r.close()
}

func TestDamagedFilesAreNotUsed(t *testing.T) {
	for _, c := range []struct {
		name   string
		damage func(b []byte) []byte
		later  bool // seen when it is read only
	}{
		{"header", func(b []byte) []byte { b[12]++; return b }, false},
		{"magic", func(b []byte) []byte { b[0]++; return b }, false},
		{"description", func(b []byte) []byte { b[fileHeader+3]++; return b }, false},
		{"body", func(b []byte) []byte { b[len(b)-1]++; return b }, true},
		{"cut", func(b []byte) []byte { return b[:len(b)-1] }, false},
		{"longer", func(b []byte) []byte { return append(b, 0) }, false},
		{"empty", func([]byte) []byte { return nil }, false},
		{"zeros", func(b []byte) []byte { return make([]byte, len(b)) }, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			r := onDisk(t, dir, 1<<30, Policy{})
			r.origin = func(x *exchange.Exchange) { respond(t, x, "200\nCache-Control: max-age=600\n\nbody") }
			r.ask("GET /")
			r.close()
			file := filesIn(t, dir)[0]
			b, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(file, c.damage(b), 0o600); err != nil {
				t.Fatal(err)
			}
			r = onDisk(t, dir, 1<<30, Policy{})
			if n := r.cache.Stats().Disk.Damaged; (n == 1) == c.later {
				t.Errorf("%d damaged files at the start", n)
			}
			r.origin = func(x *exchange.Exchange) { respond(t, x, "200\nCache-Control: no-store\n\nnew") }
			if got := r.ask("GET /"); got != "new" {
				t.Errorf("got %q", got)
			}
			if stats := r.cache.Stats().Disk; stats.Damaged != 1 || stats.Files != 0 || stats.Bytes != 0 {
				t.Errorf("%+v", *stats)
			}
			r.close()
			if files := filesIn(t, dir); len(files) != 0 {
				t.Errorf("files left %q", files)
			}
		})
	}
}

func TestDiskIsBounded(t *testing.T) {
	dir := t.TempDir()
	const size = 8 << 20
	r := onDisk(t, dir, size, Policy{})
	r.origin = func(x *exchange.Exchange) {
		respond(t, x, "200\nCache-Control: max-age=600\n\n"+strings.Repeat("x", 50_000))
	}
	for i := range 300 {
		r.ask(fmt.Sprint("GET /", i))
	}
	r.close()
	total := int64(0)
	for _, file := range filesIn(t, dir) {
		info, err := os.Stat(file)
		if err != nil {
			t.Fatal(err)
		}
		total += roundUp(info.Size())
	}
	if stats := r.cache.Stats().Disk; total > size || total != stats.Bytes || total < size/2 || stats.Failed != 0 {
		t.Errorf("%d bytes of files, %+v", total, *stats)
	}
}

func TestAsideIsCleared(t *testing.T) {
	dir := t.TempDir()
	left := filepath.Join(dir, "aside", "1234")
	if err := os.MkdirAll(filepath.Dir(left), 0o700); err != nil {
		t.Fatal(err)
	}
	other := filepath.Join(dir, "README")
	for _, name := range []string{left, other} {
		if err := os.WriteFile(name, []byte("half"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	r := onDisk(t, dir, 1<<30, Policy{})
	r.close()
	if files := filesIn(t, dir); len(files) != 1 || files[0] != other {
		t.Errorf("files %q", files)
	}
}

func TestPurgedWhileFilesAreFound(t *testing.T) {
	dir := t.TempDir()
	r := onDisk(t, dir, 1<<30, Policy{})
	r.origin = func(x *exchange.Exchange) { respond(t, x, "200\nCache-Control: max-age=600\n\nbody") }
	r.ask("GET /")
	r.close()

	d, err := openDisk(dir, 1<<30, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	d.remove("http://example.org/") // perhaps before it is found, perhaps after
	if err := d.close(); err != nil {
		t.Fatal(err)
	}
	d.purged = map[string]uint64{} // as if it were not found yet
	d.remove("http://example.org/")
	d.add(&stored{number: 0x1234, url: "http://example.org/"}, func() bool { return true })
	if files := d.files("http://example.org/"); len(files) != 0 {
		t.Errorf("%d files came back", len(files))
	}
}

func FuzzDecodeFile(f *testing.F) {
	r := newRig(f, Options{}, Policy{})
	r.origin = func(x *exchange.Exchange) {
		respond(f, x, "200\nCache-Control: max-age=600\nVary: X-A\nCache-Tag: a b\nETag: \"a\"\n\nbody")
	}
	r.ask("GET /\nX-A: 1")
	stored := r.cache.store.get([]byte("http://example.org/"))
	e := stored.variants[0]
	f.Add(describe(nil, stored.url, e))
	f.Add([]byte{})
	whole := append(encode(stored.url, e), e.body...)
	if url, got, _, err := decodeFile(bytes.NewReader(whole), true, 100); err != nil || url != stored.url || !got.sameChoice(e) ||
		got.lease != e.lease || !bytes.Equal(got.head, e.head) || !bytes.Equal(got.body, e.body) {
		f.Fatalf("%s: %+v, %v", url, got, err)
	}
	f.Fuzz(func(t *testing.T, description []byte) {
		url, e, err := parseDescription(description)
		if err != nil {
			return
		}
		again, got, err := parseDescription(describe(nil, url, e))
		if err != nil || again != url || !got.sameChoice(e) || got.lease != e.lease || !bytes.Equal(got.head, e.head) {
			t.Errorf("%q: %+v becomes %+v, %v", description, e, got, err)
		}
		var h exchange.Header
		e.appendTo(&h)
		_, _ = decode([]byte(url)), h.Len()
		if _, _, _, err := decodeFile(bytes.NewReader(description), true, 1000); err == nil && !bytes.HasPrefix(description, []byte(fileMagic)) {
			t.Error("a file without its magic was read")
		}
	})
}
