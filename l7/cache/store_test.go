package cache

import (
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"weir/l7/exchange"
	"weir/l7/internal/race"
)

// ask serves GET of a path and gives the body.
func (r *rig) ask(text string) string {
	r.t.Helper()
	return r.serve(request(r.t, text)).body
}

// echo is an origin that answers with the target and how often it was asked.
func (r *rig) echo(fields string) *int {
	asked := 0
	r.origin = func(x *exchange.Exchange) {
		asked++
		respond(r.t, x, fmt.Sprintf("200\n%s\n\n%s %d", fields, x.Request.Target, asked))
	}
	return &asked
}

func TestPurge(t *testing.T) {
	for _, dir := range []string{"", t.TempDir()} {
		r := newRig(t, Options{DiskPath: dir, DiskBytes: 1 << 30}, Policy{})
		r.echo("Cache-Control: max-age=60\nSurrogate-Key: all {tag}\nCache-Tag: x,y")
		r.origin = func(x *exchange.Exchange) {
			respond(t, x, fmt.Sprintf("200\nCache-Control: max-age=60\nSurrogate-Key: all t%s\nCache-Tag: x,y\n\n%s",
				strings.Trim(string(x.Request.Path), "/"), x.Request.Target))
		}
		fill := func() {
			for _, target := range []string{"/a", "/a/b", "/c?q=1"} {
				if got := r.ask("GET " + target); got != target {
					t.Fatalf("%s: %q", target, got)
				}
			}
		}
		left := func() (all []string) {
			for _, target := range []string{"/a", "/a/b", "/c?q=1"} {
				x := request(t, "GET "+target+"\nCache-Control: only-if-cached")
				if r.serve(x).status == 200 {
					all = append(all, target)
				}
			}
			return all
		}
		for _, c := range []struct {
			name  string
			purge func() int
			want  int
			left  []string
		}{
			{"URL", func() int { n, _ := r.cache.PurgeURL("http://example.org/c?q=1"); return n }, 1, []string{"/a", "/a/b"}},
			{"URL with port", func() int { n, _ := r.cache.PurgeURL("HTTP://Example.org:80/a"); return n }, 1, []string{"/a/b", "/c?q=1"}},
			{"other URL", func() int { n, _ := r.cache.PurgeURL("https://example.org/a"); return n }, 0, []string{"/a", "/a/b", "/c?q=1"}},
			{"prefix", func() int { return r.cache.PurgePrefix("http://example.org/a") }, 2, []string{"/c?q=1"}},
			{"tag of one", func() int { return r.cache.PurgeTag("ta") }, 1, []string{"/a/b", "/c?q=1"}},
			{"tag of all", func() int { return r.cache.PurgeTag("all") }, 3, nil},
			{"tag of the other field", func() int { return r.cache.PurgeTag("y") }, 3, nil},
			{"part of a tag", func() int { return r.cache.PurgeTag("al") }, 0, []string{"/a", "/a/b", "/c?q=1"}},
			{"everything", func() int { return r.cache.PurgeAll() }, 3, nil},
		} {
			fill()
			if n := c.purge(); n != c.want {
				t.Errorf("%s: purged %d, want %d", c.name, n, c.want)
			}
			if got := left(); !slices.Equal(got, c.left) {
				t.Errorf("%s: left %q, want %q", c.name, got, c.left)
			}
		}
		r.cache.PurgeAll()
		if n := len(r.cache.store.tags); n != 0 {
			t.Errorf("%d tags of nothing", n)
		}
		if _, err := r.cache.PurgeURL("/a"); err == nil || !strings.Contains(err.Error(), `"/a"`) {
			t.Errorf("error %v", err)
		}
		if err := r.cache.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestTagsAreNotSentOn(t *testing.T) {
	r := newRig(t, Options{}, Policy{})
	for _, control := range []string{"max-age=60", "no-store"} {
		r.origin = func(x *exchange.Exchange) { respond(t, x, "200\nCache-Tag: x\nCache-Control: "+control+"\n\na") }
		for range 2 {
			got := r.serve(request(t, "GET /"+control))
			check(t, control, "!Cache-Tag", got.fields)
		}
	}
}

func TestEntries(t *testing.T) {
	r := newRig(t, Options{}, Policy{Key: Key{IgnoreQuery: true}})
	r.echo("Cache-Control: max-age=60\nVary: X-A\nCache-Tag: t")
	r.ask("GET /a?x=1\nX-A: 1")
	r.ask("GET /a?x=2\nX-A: 2")
	all, err := r.cache.Entries("http://example.org/a?x=3")
	if err != nil || len(all) != 2 {
		t.Fatalf("%d entries, %v", len(all), err)
	}
	e := all[0]
	if e.URL != "http://example.org/a" || e.Status != 200 || e.Length != int64(len("/a?x=2 2")) || e.TTL <= 0 || len(e.Tags) != 1 ||
		!slices.Contains(e.Header, "Cache-Control: max-age=60") || e.Vary["x-a"] == "" {
		t.Errorf("entry %+v", e)
	}
	if _, err := r.cache.Entries("ftp://x/"); err == nil {
		t.Error("FTP was taken")
	}
}

func TestVariantsAreBounded(t *testing.T) {
	r := newRig(t, Options{}, Policy{Variants: 3})
	asked := r.echo("Cache-Control: max-age=60\nVary: X-A")
	for i := range 5 {
		r.ask(fmt.Sprint("GET /\nX-A: ", i))
	}
	*asked = 0
	for i := 4; i >= 2; i-- {
		r.ask(fmt.Sprint("GET /\nX-A: ", i))
	}
	if *asked != 0 {
		t.Errorf("the newest three were asked for %d times", *asked)
	}
	if r.ask("GET /\nX-A: 0"); *asked != 1 {
		t.Errorf("the oldest was asked for %d times", *asked)
	}
}

// TestBudget fills a cache many times over. The budget is of what is kept; the
// process has a quarter more for what the daemon lets lie uncollected, what the
// runtime keeps for itself, and fragmentation: 99 MiB in all, as measured.
func TestBudget(t *testing.T) {
	const budget = 64 << 20
	defer debug.SetGCPercent(debug.SetGCPercent(25))
	zeros := make([]byte, 256<<10)
	before, residentBefore, residentMost := live(), resident(t), int64(0)
	r := newRig(t, Options{Memory: budget}, Policy{})
	r.origin = func(x *exchange.Exchange) {
		size, err := strconv.Atoi(string(x.Request.Query))
		if err != nil {
			t.Fatal(err)
		}
		x.Response.Status, x.Response.Length = 200, int64(size)
		addFields(&x.Response.Header, []string{"Cache-Control: max-age=60", "Cache-Tag: a" + string(x.Request.Path[1:])})
		x.Response.Body = exchange.NewBytes(zeros[:size])
	}
	random := rand.New(rand.NewPCG(1, 2)) // the same each time
	total, most := int64(0), int64(0)
	for i := 0; total < 4*budget; i++ {
		size := 1 + random.IntN(200)
		if i%20 == 0 {
			size = random.IntN(len(zeros))
		}
		total += int64(size)
		x := request(t, fmt.Sprintf("GET /%d?%d", i, size))
		r.handler.Serve(x)
		if n, err := io.Copy(io.Discard, x.Response.Body); n != int64(size) || err != nil {
			t.Fatalf("%d bytes of %d, %v", n, size, err)
		}
		x.End()
		if stats := r.cache.Stats(); stats.Memory > budget {
			t.Fatalf("after %d answers: %d bytes of %d", i, stats.Memory, budget)
		} else {
			most = max(most, stats.Memory)
		}
		if i%100 == 0 {
			residentMost = max(residentMost, resident(t)-residentBefore)
		}
	}
	used := live() - before
	t.Logf("at most %d bytes by count, %d MiB live, %d MiB more resident, %d evictions", most, used>>20, residentMost>>20, r.cache.Stats().Evictions)
	if !race.Enabled && residentMost > budget*7/4 {
		t.Errorf("%d MiB more resident than before", residentMost>>20)
	}
	if most < budget*9/10 || used > budget*11/10 {
		t.Errorf("%d bytes by count and %d live of %d", most, used, budget)
	}
	runtime.KeepAlive(r)
}

// resident is the memory of the process that is not swapped, bytes.
func resident(t *testing.T) int64 {
	t.Helper()
	b, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		t.Fatal(err)
	}
	pages, err := strconv.ParseInt(strings.Fields(string(b))[1], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return pages * int64(os.Getpagesize())
}

func live() int64 {
	debug.FreeOSMemory()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

func TestWhatIsAskedForStaysDuringAScan(t *testing.T) {
	r := newRig(t, Options{Memory: 4 << 20}, Policy{})
	asked := r.echo("Cache-Control: max-age=60\nX-Filling: " + strings.Repeat("x", 4000))
	for range 5 {
		for i := range 100 {
			r.ask(fmt.Sprint("GET /hot/", i))
		}
	}
	for i := range 10_000 { // ten times what fits, each once
		r.ask(fmt.Sprint("GET /scan/", i))
		if i%10 == 0 { // each again after 1000 others: too late for LRU
			r.ask(fmt.Sprint("GET /hot/", i/10%100))
		}
	}
	*asked = 0
	for i := range 100 {
		r.ask(fmt.Sprint("GET /hot/", i))
	}
	t.Logf("%d of 100 were lost", *asked)
	if *asked > 10 {
		t.Errorf("%d of 100 were lost", *asked)
	}
}

func TestConcurrentUse(t *testing.T) {
	dir := t.TempDir()
	r := newRig(t, Options{Memory: 1 << 20, DiskPath: dir, DiskBytes: 4 << 20}, Policy{Status: true})
	r.origin = func(x *exchange.Exchange) {
		respond(t, x, fmt.Sprintf("200\nCache-Control: max-age=60\nVary: X-A\nCache-Tag: t%s\n\n%s %s",
			x.Request.Query, x.Request.Target, strings.Repeat("x", 2000)))
	}
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for range 500 {
				target := fmt.Sprintf("/%d?%d", rand.IntN(400), rand.IntN(3))
				switch rand.IntN(100) {
				case 0:
					r.cache.PurgeTag("t1")
				case 1:
					r.cache.PurgePrefix("http://example.org/1")
				case 2:
					r.serve(request(t, "POST "+target+"\n\nx"))
				case 3:
					r.cache.Stats()
				default:
					if got := r.ask("GET " + target + "\nX-A: " + strconv.Itoa(rand.IntN(2))); !strings.HasPrefix(got, target+" ") {
						t.Errorf("%s: %.30q", target, got)
					}
				}
			}
		})
	}
	all.Wait()
	r.cache.PurgeAll()
	if err := r.cache.Close(); err != nil {
		t.Error(err)
	}
	stats := r.cache.Stats()
	if stats.Filling != 0 || stats.Disk.Damaged != 0 || stats.Disk.Failed != 0 || stats.Disk.Files != 0 || stats.Disk.Bytes != 0 || len(r.cache.store.tags) != 0 {
		t.Errorf("left: %+v, disk %+v, %d tags", stats, *stats.Disk, len(r.cache.store.tags))
	}
	if files := filesIn(t, dir); len(files) != 0 {
		t.Errorf("%d files left, as %q", len(files), files[0])
	}
}

func TestRefusedOptions(t *testing.T) {
	file := t.TempDir() + "/file"
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for want, o := range map[string]Options{
		"memory 1:":            {Memory: 1},
		"max object 1000000":   {Memory: 1 << 20, MaxObject: 1_000_000},
		`name "a b"`:           {Memory: 1 << 20, Name: "a b"},
		"disk of 1000 bytes":   {Memory: 1 << 20, DiskPath: t.TempDir(), DiskBytes: 1000},
		"directory of the dis": {Memory: 1 << 20, DiskPath: file + "/x", DiskBytes: 1 << 30},
	} {
		if _, err := New(o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
	for want, p := range map[string]Policy{
		"ttl -1ns": {TTL: -1}, "heuristic 2": {Heuristic: 2}, "min ttl 2ns": {MinTTL: 2, MaxTTL: 1},
		`"a b" is no name`: {Tags: []string{"a b"}}, `"" is no name`: {Key: Key{Headers: []string{""}}}, "variants -1": {Variants: -1},
	} {
		if err := p.Check(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
}
