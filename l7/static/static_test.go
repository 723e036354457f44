package static

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"weir/l7/coding"
	"weir/l7/exchange"
	"weir/l7/internal/race"
	"weir/l7/stream"
	"weir/l7/validator"
)

var began = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// tree writes files; a name that ends with a slash is a directory.
func tree(t testing.TB, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	for name, content := range files {
		full := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(name, "/") {
			if err := os.MkdirAll(full, 0o755); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if err := os.WriteFile(full, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(full, began.Add(-time.Hour), began.Add(-time.Hour)); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func serve(t testing.TB, s *Files, method, target string, header ...string) (*exchange.Exchange, string) {
	t.Helper()
	x := &exchange.Exchange{Began: began}
	path, query, _ := strings.Cut(target, "?")
	x.Request.Method, x.Request.Path, x.Request.Query = []byte(method), []byte(path), []byte(query)
	for _, line := range header {
		name, value, _ := strings.Cut(line, ": ")
		x.Request.Header.Add(name, []byte(value))
	}
	s.Serve(x)
	if x.Response.Body == nil {
		return x, ""
	}
	body, err := io.ReadAll(x.Response.Body)
	if err != nil || int64(len(body)) != x.Response.Length {
		t.Fatalf("%s %s: %d bytes of %d: %v", method, target, len(body), x.Response.Length, err)
	}
	return x, string(body)
}

func files(t testing.TB, o Options) *Files {
	t.Helper()
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func TestServe(t *testing.T) {
	root := tree(t, map[string]string{
		"index.html": "home", "a.txt": "text", "sub/index.html": "sub home", "sub/b.css": "css",
		"empty/": "", "nothing": "", ".secret": "no", "sub/.hidden/c.txt": "no", ".well-known/x": "known",
		"with space": "space", "100%": "percent", "big": strings.Repeat("0123456789", 5000),
	})
	outside := tree(t, map[string]string{"secret": "no"})
	for name, to := range map[string]string{"out": outside + "/secret", "outdir": outside, "inside": "a.txt", "loop": "loop"} {
		if err := os.Symlink(to, filepath.Join(root, name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := syscall.Mkfifo(filepath.Join(root, "fifo"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, method, target string
		options              Options
		status               int
		body                 string
	}{
		{"file", "GET", "/a.txt", Options{}, 200, "text"},
		{"index", "GET", "/", Options{}, 200, "home"},
		{"index of another name", "GET", "/", Options{Index: []string{"none", "a.txt"}}, 200, "text"},
		{"directory", "GET", "/sub/", Options{}, 200, "sub home"},
		{"directory without slash", "GET", "/sub?x=1", Options{}, 301, ""},
		{"directory without index", "GET", "/empty/", Options{}, 404, "404 Not Found\n"},
		{"empty file", "GET", "/nothing", Options{}, 200, ""},
		{"HEAD", "HEAD", "/a.txt", Options{}, 200, ""},
		{"POST", "POST", "/a.txt", Options{}, 405, "405 Method Not Allowed\n"},
		{"missing", "GET", "/none", Options{}, 404, "404 Not Found\n"},
		{"below a file", "GET", "/a.txt/b", Options{}, 404, "404 Not Found\n"},
		{"file with slash", "GET", "/a.txt/", Options{}, 404, "404 Not Found\n"},
		{"dotfile", "GET", "/.secret", Options{}, 404, "404 Not Found\n"},
		{"dotfile, allowed", "GET", "/.secret", Options{Dotfiles: true}, 200, "no"},
		{"dot directory", "GET", "/sub/.hidden/c.txt", Options{}, 404, "404 Not Found\n"},
		{"well-known", "GET", "/.well-known/x", Options{}, 200, "known"},
		{"up", "GET", "/sub/../a.txt", Options{Dotfiles: true}, 404, "404 Not Found\n"},
		{"up, encoded", "GET", "/%2e%2e/a.txt", Options{Dotfiles: true}, 404, "404 Not Found\n"},
		{"here", "GET", "/./a.txt", Options{Dotfiles: true}, 404, "404 Not Found\n"},
		{"slash, encoded", "GET", "/sub%2Fb.css", Options{}, 404, "404 Not Found\n"},
		{"two slashes", "GET", "//a.txt", Options{}, 404, "404 Not Found\n"},
		{"NUL", "GET", "/a.txt%00", Options{}, 404, "404 Not Found\n"},
		{"bad escape", "GET", "/a%2", Options{}, 404, "404 Not Found\n"},
		{"space", "GET", "/with%20space", Options{}, 200, "space"},
		{"percent", "GET", "/100%25", Options{}, 200, "percent"},
		{"link out", "GET", "/out", Options{}, 404, "404 Not Found\n"},
		{"linked directory out", "GET", "/outdir/secret", Options{}, 404, "404 Not Found\n"},
		{"link inside", "GET", "/inside", Options{}, 200, "text"},
		{"link to itself", "GET", "/loop", Options{}, 404, "404 Not Found\n"},
		{"FIFO", "GET", "/fifo", Options{}, 404, "404 Not Found\n"},
		{"long name", "GET", "/" + strings.Repeat("x", 300), Options{}, 404, "404 Not Found\n"},
		{"prefix", "GET", "/assets/a.txt", Options{Prefix: "/assets"}, 200, "text"},
		{"other prefix", "GET", "/assetsa.txt", Options{Prefix: "/assets"}, 404, "404 Not Found\n"},
		{"try", "GET", "/none", Options{Try: []string{"{path}", "/a.txt"}}, 200, "text"},
		{"try below", "GET", "/sub", Options{Try: []string{"{path}/b.css"}}, 200, "css"},
		{"try status", "GET", "/none", Options{Try: []string{"{path}", "=410"}}, 410, "410 Gone\n"},
		{"large", "GET", "/big", Options{}, 200, strings.Repeat("0123456789", 5000)},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.options.Root = root
			s := files(t, c.options)
			for range 2 { // the second time from what is open
				x, body := serve(t, s, c.method, c.target)
				if x.Response.Status != c.status || body != c.body {
					t.Errorf("%d %q, want %d %q (%s)", x.Response.Status, body, c.status, c.body, x.Failure)
				}
				x.End()
			}
		})
	}
}

func TestRefusedOptions(t *testing.T) {
	root := t.TempDir()
	for _, c := range []struct {
		options Options
		want    string
	}{
		{Options{Root: filepath.Join(root, "none")}, "no such file"},
		{Options{Root: root, Try: []string{"=404", "{path}"}}, `try "=404"`},
		{Options{Root: root, Try: []string{"=200"}}, `try "=200"`},
		{Options{Root: root, Prefix: "/a/"}, `prefix "/a/"`},
		{Options{Root: root, Precompressed: []coding.Coding{coding.Identity}}, `precompressed "identity"`},
	} {
		if _, err := New(c.options); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("error %v, want %q", err, c.want)
		}
	}
}

func TestHeader(t *testing.T) {
	s := files(t, Options{Root: tree(t, map[string]string{"a.css": "x", "b.xyz": "y", "c.own": "z"}), CacheControl: "max-age=60",
		Types: map[string]string{".own": "application/own"}})
	for target, want := range map[string]string{
		"/a.css": "text/css; charset=utf-8", "/b.xyz": "application/octet-stream", "/c.own": "application/own",
	} {
		x, _ := serve(t, s, "GET", target)
		h := &x.Response.Header
		for name, value := range map[exchange.Name]string{
			exchange.ContentType: want, exchange.CacheControl: "max-age=60", exchange.AcceptRanges: "bytes",
			exchange.LastModified: "Sun, 01 Mar 2026 11:00:00 GMT", exchange.Date: "Sun, 01 Mar 2026 12:00:00 GMT",
		} {
			if got := string(h.Get(name)); got != value {
				t.Errorf("%s: %s is %q, want %q", target, name, got, value)
			}
		}
		head, body, _ := strings.Cut(string(x.Response.Prebuilt), "\r\n\r\n")
		lines := strings.Split(head, "\r\n")
		if lines[0] != "HTTP/1.1 200 OK" || len(lines) != h.Len()+2 || len(body) != 1 {
			t.Errorf("prebuilt %q for %d fields", x.Response.Prebuilt, h.Len())
		}
		for _, f := range h.Fields() {
			if !strings.Contains(head, fmt.Sprintf("\r\n%s: %s", f.Text, f.Value)) {
				t.Errorf("prebuilt %q lacks %s", head, f.Text)
			}
		}
	}
}

func TestConditionalAndRange(t *testing.T) {
	s := files(t, Options{Root: tree(t, map[string]string{"a": "0123456789", "big": strings.Repeat("0123456789", 5000)})})
	x, _ := serve(t, s, "GET", "/a")
	etag, modified := string(x.Response.Header.Get(exchange.ETag)), string(x.Response.Header.Get(exchange.LastModified))
	if validator.IsWeak([]byte(etag)) {
		t.Errorf("weak ETag %s", etag)
	}
	for _, c := range []struct {
		name, target string
		header       []string
		status       int
		body         string
	}{
		{"same tag", "/a", []string{"If-None-Match: " + etag}, 304, ""},
		{"other tag", "/a", []string{`If-None-Match: "x"`}, 200, "0123456789"},
		{"not modified", "/a", []string{"If-Modified-Since: " + modified}, 304, ""},
		{"match", "/a", []string{"If-Match: " + etag}, 200, "0123456789"},
		{"no match", "/a", []string{`If-Match: "x"`}, 412, "412 Precondition Failed\n"},
		{"range", "/a", []string{"Range: bytes=2-4"}, 206, "234"},
		{"range of the large", "/big", []string{"Range: bytes=49998-"}, 206, "89"},
		{"range that holds", "/a", []string{"Range: bytes=2-4", "If-Range: " + etag}, 206, "234"},
		{"range that holds by date", "/a", []string{"Range: bytes=2-4", "If-Range: " + modified}, 206, "234"},
		{"range of another", "/a", []string{"Range: bytes=2-4", `If-Range: "x"`}, 200, "0123456789"},
		{"beyond", "/a", []string{"Range: bytes=10-"}, 416, ""},
		{"tag before range", "/a", []string{"Range: bytes=10-", "If-None-Match: " + etag}, 304, ""},
	} {
		x, body := serve(t, s, "GET", c.target, c.header...)
		if x.Response.Status != c.status || body != c.body {
			t.Errorf("%s: %d %q, want %d %q", c.name, x.Response.Status, body, c.status, c.body)
		}
		x.End()
	}
	x, body := serve(t, s, "GET", "/big", "Range: bytes=0-1,49998-49999")
	if x.Response.Status != 206 || !strings.Contains(body, "\r\n\r\n01\r\n--") || !strings.Contains(body, "\r\n\r\n89\r\n--") {
		t.Errorf("parts %q", body)
	}
}

func TestPrecompressed(t *testing.T) {
	s := files(t, Options{
		Root:          tree(t, map[string]string{"a.js": "plain", "a.js.br": "BR", "a.js.gz": "GZ", "b.js": "only"}),
		Precompressed: []coding.Coding{coding.Brotli, coding.Zstd, coding.Gzip},
	})
	tags := map[string]bool{}
	for _, c := range []struct{ target, accept, coding, body, vary string }{
		{"/a.js", "", "", "plain", "Accept-Encoding"},
		{"/a.js", "gzip, br", "br", "BR", "Accept-Encoding"},
		{"/a.js", "gzip;q=1, br;q=0.5", "gzip", "GZ", "Accept-Encoding"},
		{"/a.js", "zstd", "", "plain", "Accept-Encoding"},
		{"/b.js", "br", "", "only", ""},
	} {
		var header []string
		if c.accept != "" {
			header = []string{"Accept-Encoding: " + c.accept}
		}
		x, body := serve(t, s, "GET", c.target, header...)
		h := &x.Response.Header
		if body != c.body || string(h.Get(exchange.ContentEncoding)) != c.coding || string(h.Get(exchange.Vary)) != c.vary ||
			string(h.Get(exchange.ContentType)) != "text/javascript; charset=utf-8" {
			t.Errorf("%s for %q: %q, Content-Encoding %q, Vary %q", c.target, c.accept, body, h.Get(exchange.ContentEncoding), h.Get(exchange.Vary))
		}
		tags[string(h.Get(exchange.ETag))] = true
	}
	if len(tags) != 4 {
		t.Errorf("tags %v: each representation needs its own", tags)
	}
}

func TestListing(t *testing.T) {
	root := tree(t, map[string]string{"d/b <i>.txt": "", "d/a/x": "", "d/.hidden": ""})
	if err := os.Symlink("/etc/passwd", filepath.Join(root, "d/out")); err != nil {
		t.Fatal(err)
	}
	s := files(t, Options{Root: root, Listing: true})
	x, body := serve(t, s, "GET", "/d/")
	a, b := strings.Index(body, `<a href="./a/">a/</a>`), strings.Index(body, `<a href="./b%20%3Ci%3E.txt">b &lt;i&gt;.txt</a>`)
	if x.Response.Status != 200 || a < 0 || b < a || strings.Contains(body, "hidden") || strings.Contains(body, "out") {
		t.Errorf("listing %d %q", x.Response.Status, body)
	}
}

func TestChangeIsSeenAfterRecheck(t *testing.T) {
	root := tree(t, map[string]string{"a": "old", "a.gz": "OLD", "b": "there"})
	s := files(t, Options{Root: root, Recheck: time.Minute, Precompressed: []coding.Coding{coding.Gzip, coding.Brotli}})
	get := func(at time.Duration, header ...string) string {
		x := &exchange.Exchange{Began: began.Add(at)}
		x.Request.Method, x.Request.Path = []byte("GET"), []byte("/a")
		for _, h := range header {
			x.Request.Header.Add("Accept-Encoding", []byte(h))
		}
		s.Serve(x)
		body, err := io.ReadAll(x.Response.Body)
		if err != nil {
			t.Fatal(err)
		}
		x.End()
		return string(body)
	}
	replace := func(name, content string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(root, "aside"), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(filepath.Join(root, "aside"), filepath.Join(root, name)); err != nil {
			t.Fatal(err)
		}
	}
	steps := []struct {
		change, content string
		at              time.Duration
		accept, want    string
	}{
		{"", "", 0, "", "old"},
		{"a", "new", 59 * time.Second, "", "old"},
		{"", "", 61 * time.Second, "", "new"},
		{"a.gz", "NEW", 122 * time.Second, "gzip", "NEW"},
		{"a.br", "BR", 183 * time.Second, "br", "BR"},
	}
	for i, step := range steps {
		if step.change != "" {
			replace(step.change, step.content)
		}
		var header []string
		if step.accept != "" {
			header = []string{step.accept}
		}
		if got := get(step.at, header...); got != step.want {
			t.Errorf("step %d: %q, want %q", i, got, step.want)
		}
	}
	if err := os.Remove(filepath.Join(root, "a")); err != nil {
		t.Fatal(err)
	}
	if got := get(300 * time.Second); got != "404 Not Found\n" {
		t.Errorf("removed file: %q", got)
	}
}

func TestSendfile(t *testing.T) {
	content := make([]byte, 3<<20)
	for i := range content {
		content[i] = byte(rand.Uint32())
	}
	s := files(t, Options{Root: tree(t, map[string]string{"big": string(content)})})
	for _, rangeOf := range []string{"", "Range: bytes=1000-2000999"} {
		server, client := tcpPair(t)
		var header []string
		want := content
		if rangeOf != "" {
			header, want = []string{rangeOf}, content[1000:2001000]
		}
		x := &exchange.Exchange{Began: began}
		x.Request.Method, x.Request.Path = []byte("GET"), []byte("/big")
		for _, line := range header {
			name, value, _ := strings.Cut(line, ": ")
			x.Request.Header.Add(name, []byte(value))
		}
		s.Serve(x)
		var sent sync.WaitGroup
		sent.Go(func() {
			n, err := x.Response.Body.(io.WriterTo).WriteTo(stream.New(server))
			if n != int64(len(want)) || err != nil {
				t.Errorf("sent %d of %d: %v", n, len(want), err)
			}
			x.End()
			_ = server.Close()
		})
		got, err := io.ReadAll(client)
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%q: got %d bytes of %d, %v", rangeOf, len(got), len(want), err)
		}
		sent.Wait()
	}
}

func tcpPair(t *testing.T) (server, client net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	if client, err = net.Dial("tcp", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if server, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Close(); _ = client.Close() })
	return server, client
}

func TestTruncatedFileIsAnError(t *testing.T) {
	root := tree(t, map[string]string{"big": strings.Repeat("x", 100_000)})
	s := files(t, Options{Root: root})
	for _, socket := range []bool{false, true} {
		if err := os.WriteFile(filepath.Join(root, "big"), bytes.Repeat([]byte("x"), 100_000), 0o644); err != nil {
			t.Fatal(err)
		}
		x := &exchange.Exchange{Began: began.Add(time.Hour)}
		x.Request.Method, x.Request.Path = []byte("GET"), []byte("/big")
		s.Serve(x)
		if err := os.Truncate(filepath.Join(root, "big"), 10); err != nil {
			t.Fatal(err)
		}
		to := io.Discard
		if socket {
			conn, _ := tcpPair(t)
			to = stream.New(conn)
		}
		if n, err := x.Response.Body.(io.WriterTo).WriteTo(to); n != 10 || err != io.ErrUnexpectedEOF {
			t.Errorf("sent %d, %v", n, err)
		}
		x.End()
	}
}

func TestFilesAreClosed(t *testing.T) {
	content := map[string]string{}
	for i := range 50 {
		content[fmt.Sprint("f", i)] = strings.Repeat("x", 100_000)
	}
	before := descriptors(t)
	s := files(t, Options{Root: tree(t, content), Open: 8})
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for range 500 {
				x, body := serve(t, s, "GET", fmt.Sprint("/f", rand.IntN(50)))
				if x.Response.Status != 200 || len(body) != 100_000 {
					t.Errorf("%d, %d bytes: %s", x.Response.Status, len(body), x.Failure)
				}
				x.End()
			}
		})
	}
	all.Wait()
	if n := descriptors(t); n > before+8+1 {
		t.Errorf("%d descriptors, %d before", n, before)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if n := descriptors(t); n > before {
		t.Errorf("%d descriptors after Close, %d before", n, before)
	}
}

func descriptors(t *testing.T) int {
	t.Helper()
	all, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(all)
}

func TestHotFileDoesNotAllocate(t *testing.T) {
	if race.Enabled {
		t.Skip("the race detector empties pools")
	}
	s := files(t, Options{Root: tree(t, map[string]string{"a.txt": "hello"})})
	x, method, path := &exchange.Exchange{}, []byte("GET"), []byte("/a.txt")
	n := testing.AllocsPerRun(1000, func() {
		x.Reset()
		x.Began, x.Request.Method, x.Request.Path = began, method, path
		s.Serve(x)
		x.End()
	})
	if n >= 1 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkHotFile(b *testing.B) {
	s := files(b, Options{Root: tree(b, map[string]string{"a.txt": strings.Repeat("x", 1000)})})
	x, method, path := &exchange.Exchange{}, []byte("GET"), []byte("/a.txt")
	b.ReportAllocs()
	for b.Loop() {
		x.Reset()
		x.Began, x.Request.Method, x.Request.Path = began, method, path
		s.Serve(x)
		x.End()
	}
}

func FuzzName(f *testing.F) {
	for _, path := range []string{"/a", "/%2e./x", "/..%2f", "/a%00b", "/.well-known/..", "/%zz"} {
		f.Add(path)
	}
	root := f.TempDir()
	s, err := New(Options{Root: root, Dotfiles: true})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, path string) {
		name, ok := s.name(nil, []byte(path))
		if !ok || len(name) == 0 {
			return
		}
		full := filepath.Join(root, string(name))
		if !strings.HasPrefix(full, root+"/") || bytes.IndexByte(name, 0) >= 0 {
			t.Errorf("%q is %q", path, full)
		}
	})
}
