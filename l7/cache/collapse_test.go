package cache

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"weir/l7/exchange"
)

// slow is a body of pieces that a test gives one by one.
type slow struct {
	pieces chan string // closed: the end
	rest   string
	err    error // at the end, nil: io.EOF
	closed atomic.Bool
}

func newSlow() *slow { return &slow{pieces: make(chan string, 1000)} }

func (b *slow) Read(p []byte) (int, error) {
	for b.rest == "" {
		piece, ok := <-b.pieces
		if !ok {
			if b.err != nil {
				return 0, b.err
			}
			return 0, io.EOF
		}
		b.rest = piece
	}
	n := copy(p, b.rest)
	b.rest = b.rest[n:]
	return n, nil
}

func (b *slow) Close() error {
	b.closed.Store(true)
	return nil
}

// client is a request that is under way.
type client struct {
	x    *exchange.Exchange
	got  strings.Builder
	mu   sync.Mutex
	err  error
	done atomic.Bool
}

func (c *client) sofar() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.got.String()
}

// start sends a request and reads its answer in the background.
func (r *rig) start(text string) *client {
	c := &client{x: request(r.t, text)}
	go func() {
		r.handler.Serve(c.x)
		buf := make([]byte, 100)
		for c.x.Response.Body != nil && c.err == nil {
			n, err := c.x.Response.Body.Read(buf)
			c.mu.Lock()
			c.got.Write(buf[:n])
			if err != io.EOF {
				c.err = err
			}
			c.mu.Unlock()
			if err != nil {
				break
			}
		}
		c.x.End()
		c.done.Store(true)
	}()
	return c
}

func TestStampede(t *testing.T) {
	for _, length := range []int64{exchange.Unknown, 10} {
		t.Run(fmt.Sprint("length ", length), func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				r := newRig(t, Options{}, Policy{Status: true})
				body, header, asked := newSlow(), make(chan bool), 0
				r.origin = func(x *exchange.Exchange) {
					asked++
					<-header
					x.Response.Status, x.Response.Length, x.Response.Body = 200, length, body
					addFields(&x.Response.Header, []string{"Cache-Control: max-age=60"})
				}
				var all []*client
				for range 1000 {
					all = append(all, r.start("GET /"))
				}
				synctest.Wait()
				close(header)
				body.pieces <- "first"
				synctest.Wait()
				for i, c := range all {
					if got := c.sofar(); got != "first" || c.done.Load() {
						t.Fatalf("client %d has %q while the answer arrives", i, got)
					}
				}
				late := r.start("GET /") // the header is there already
				synctest.Wait()
				body.pieces <- "later"
				close(body.pieces)
				synctest.Wait()
				collapsed := 0
				for i, c := range append(all, late) {
					if got := c.sofar(); got != "firstlater" || !c.done.Load() || c.err != nil {
						t.Errorf("client %d has %q, %v", i, got, c.err)
					}
					if strings.Contains(string(c.x.Response.Header.Get(exchange.CacheStatus)), "collapsed") {
						collapsed++
					}
				}
				if asked != 1 || collapsed != 1000 || !body.closed.Load() {
					t.Errorf("asked %d times, %d collapsed, body closed %v", asked, collapsed, body.closed.Load())
				}
				r.play([]step{{ask: "GET /", want: "200\nAge: 0\n\nfirstlater"}})
			})
		})
	}
}

// TestStampedeOverListener is the same with a connection for each client.
func TestStampedeOverListener(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, Options{}, Policy{})
		var asked atomic.Int64
		header := make(chan bool)
		r.origin = func(x *exchange.Exchange) {
			asked.Add(1)
			<-header
			respond(t, x, fresh+"body")
		}
		var all sync.WaitGroup
		for range 1000 {
			all.Go(func() {
				w := newWire(r)
				defer w.close()
				if got := w.serve(r, "GET /"); got.status != 200 || got.body != "body" {
					t.Errorf("got %d %q", got.status, got.body)
				}
			})
		}
		synctest.Wait()
		close(header)
		all.Wait()
		if n := asked.Load(); n != 1 {
			t.Errorf("asked %d times", n)
		}
	})
}

func TestFollowersGoThemselvesIfItIsNotStorable(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, Options{}, Policy{})
		var asked atomic.Int64
		header := make(chan bool)
		r.origin = func(x *exchange.Exchange) {
			n := asked.Add(1)
			<-header
			respond(t, x, fmt.Sprintf("200\nCache-Control: no-store\n\n%d", n))
		}
		var all []*client
		for range 10 {
			all = append(all, r.start("GET /"))
		}
		synctest.Wait()
		if n := asked.Load(); n != 1 {
			t.Errorf("%d ask at first", n)
		}
		close(header)
		synctest.Wait()
		seen := map[string]bool{}
		for _, c := range all {
			seen[c.sofar()] = true
		}
		if n := asked.Load(); n != 10 || len(seen) != 10 {
			t.Errorf("asked %d times, %d different answers", n, len(seen))
		}
		// From now on nobody waits.
		header = make(chan bool)
		for range 5 {
			r.start("GET /")
		}
		synctest.Wait()
		if n := asked.Load(); n != 15 {
			t.Errorf("asked %d times, want 15: they wait for each other", n)
		}
		close(header)
		// Until some time has passed.
		time.Sleep(11 * time.Second)
		header = make(chan bool)
		for range 5 {
			r.start("GET /")
		}
		synctest.Wait()
		if n := asked.Load(); n != 16 {
			t.Errorf("asked %d times, want 16", n)
		}
		close(header)
	})
}

func TestFollowersOfAnotherVariantGoThemselves(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, Options{}, Policy{})
		header := make(chan bool)
		r.origin = func(x *exchange.Exchange) {
			<-header
			respond(t, x, fmt.Sprintf("200\nCache-Control: max-age=60\nVary: X-A\n\n%s", x.Request.Header.GetText("X-A")))
		}
		one, two := r.start("GET /\nX-A: 1"), r.start("GET /\nX-A: 2")
		synctest.Wait()
		close(header)
		synctest.Wait()
		if one.sofar() != "1" || two.sofar() != "2" {
			t.Errorf("got %q and %q", one.sofar(), two.sofar())
		}
	})
}

func TestSlowClientHoldsNobodyUp(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, Options{}, Policy{})
		body := newSlow()
		r.origin = func(x *exchange.Exchange) {
			x.Response.Status, x.Response.Length, x.Response.Body = 200, exchange.Unknown, body
			addFields(&x.Response.Header, []string{"Cache-Control: max-age=60"})
		}
		first := request(t, "GET /") // never reads
		r.handler.Serve(first)
		second := r.start("GET /")
		body.pieces <- "all"
		close(body.pieces)
		synctest.Wait()
		if second.sofar() != "all" || !second.done.Load() {
			t.Errorf("second client has %q", second.sofar())
		}
		got, err := io.ReadAll(first.Response.Body)
		if string(got) != "all" || err != nil {
			t.Errorf("first client has %q, %v", got, err)
		}
		first.End()
	})
}

func TestClientsThatGiveUp(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, Options{}, Policy{})
		body := newSlow()
		r.origin = func(x *exchange.Exchange) {
			x.Response.Status, x.Response.Length, x.Response.Body = 200, exchange.Unknown, body
			addFields(&x.Response.Header, []string{"Cache-Control: max-age=60"})
		}
		x := request(t, "GET /")
		ctx, cancel := context.WithCancel(t.Context())
		x.SetContext(ctx)
		r.handler.Serve(x)
		cancel()
		x.End() // the client is gone, and its memory is used for another
		clear(x.Request.Path)
		body.pieces <- "all of it"
		close(body.pieces)
		synctest.Wait()
		r.play([]step{{ask: "GET /", want: "200\n\nall of it"}})
	})
}

func TestAborted(t *testing.T) {
	broken := errors.New("connection reset")
	for _, c := range []struct {
		name   string
		length int64
		err    error
		want   error
	}{
		{"reset", exchange.Unknown, broken, broken},
		{"reset, with a length", 10, broken, broken},
		{"too short", 10, nil, io.ErrUnexpectedEOF},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				r := newRig(t, Options{}, Policy{})
				body := newSlow()
				body.err = c.err
				r.origin = func(x *exchange.Exchange) {
					x.Response.Status, x.Response.Length, x.Response.Body = 200, c.length, body
					addFields(&x.Response.Header, []string{"Cache-Control: max-age=60"})
				}
				one, two := r.start("GET /"), r.start("GET /")
				synctest.Wait()
				body.pieces <- "half"
				close(body.pieces)
				synctest.Wait()
				for _, client := range []*client{one, two} {
					if client.sofar() != "half" || !errors.Is(client.err, c.want) {
						t.Errorf("client has %q, %v", client.sofar(), client.err)
					}
				}
				r.play([]step{{ask: "GET /", origin: fresh + "whole", want: "200\n\nwhole"}})
				if n := r.cache.Stats().Filling; n != 0 {
					t.Errorf("%d bytes are still reserved", n)
				}
			})
		})
	}
}

func TestTooLongIsDeliveredAndNotStored(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, Options{MaxObject: 64 << 10}, Policy{})
		body, asked := newSlow(), 0
		r.origin = func(x *exchange.Exchange) {
			if asked++; asked > 1 {
				respond(t, x, fresh+"short")
				return
			}
			x.Response.Status, x.Response.Length, x.Response.Body = 200, exchange.Unknown, body
			addFields(&x.Response.Header, []string{"Cache-Control: max-age=60"})
		}
		var all []*client
		for range 3 {
			all = append(all, r.start("GET /"))
		}
		synctest.Wait()
		var want strings.Builder
		for i := range 1000 {
			piece := strings.Repeat(fmt.Sprintf("%04d", i), 256)
			want.WriteString(piece)
			body.pieces <- piece
		}
		close(body.pieces)
		synctest.Wait()
		for i, c := range all {
			if got := c.sofar(); got != want.String() || c.err != nil || !c.done.Load() {
				t.Errorf("client %d has %d bytes of %d, %v", i, len(got), want.Len(), c.err)
			}
		}
		if got := r.serve(request(t, "GET /")); got.body != "short" || asked != 2 {
			t.Errorf("%.20q after %d requests: it was stored", got.body, asked)
		}
	})
}

func TestAnnouncedTooLongIsNotWaitedFor(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, Options{MaxObject: 1000}, Policy{})
		asked := 0
		r.origin = func(x *exchange.Exchange) {
			asked++
			respond(t, x, fresh+strings.Repeat("x", 1001))
		}
		for range 2 {
			if got := r.serve(request(t, "GET /")); len(got.body) != 1001 {
				t.Errorf("%d bytes", len(got.body))
			}
		}
		if asked != 2 {
			t.Errorf("asked %d times", asked)
		}
	})
}

func TestWhatIsForgottenMeanwhileIsNotStored(t *testing.T) {
	for _, c := range []struct {
		name   string
		forget func(r *rig)
	}{
		{"URL", func(r *rig) {
			if _, err := r.cache.PurgeURL("http://example.org/a"); err != nil {
				r.t.Error(err)
			}
		}},
		{"prefix", func(r *rig) { r.cache.PurgePrefix("http://example.org/") }},
		{"tag", func(r *rig) { r.cache.PurgeTag("t") }},
		{"everything", func(r *rig) { r.cache.PurgeAll() }},
		{"unsafe method", func(r *rig) {
			x := request(r.t, "POST /a\n\nx")
			r.handler.Serve(x)
			x.End()
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				r := newRig(t, Options{}, Policy{})
				header := make(chan bool)
				var asked atomic.Int64
				r.origin = func(x *exchange.Exchange) {
					if string(x.Request.Method) != "GET" {
						respond(t, x, "200\n\n")
						return
					}
					n := asked.Add(1)
					<-header
					respond(t, x, fmt.Sprintf("200\nCache-Control: max-age=60\nCache-Tag: t\n\n%d", n))
				}
				early := r.start("GET /a")
				synctest.Wait()
				waiting := r.start("GET /a")
				synctest.Wait()
				c.forget(r)
				close(header)
				synctest.Wait()
				if early.sofar() != "1" || waiting.sofar() != "2" {
					t.Errorf("clients have %q and %q", early.sofar(), waiting.sofar())
				}
				// The second may be stored: it was asked for after the purge.
				if _, err := r.cache.PurgeURL("http://example.org/a"); err != nil {
					t.Error(err)
				}
				r.play([]step{{ask: "GET /a", origin: fresh + "new", want: "200\n\nnew"}})
			})
		})
	}
}

func TestFailureIsShared(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, Options{}, Policy{Status: true})
		header := make(chan bool)
		var asked atomic.Int64
		r.origin = func(x *exchange.Exchange) {
			asked.Add(1)
			<-header
			x.Fail(502, "no backend")
		}
		var all []*client
		for range 100 {
			all = append(all, r.start("GET /"))
		}
		synctest.Wait()
		close(header)
		synctest.Wait()
		for _, c := range all {
			// RFC 9211, 2: not the origin's answer, and so not the cache's either.
			if c.x.Response.Status != 502 || c.x.Failure != "no backend" || c.x.Response.Header.Has(exchange.CacheStatus) {
				t.Errorf("status %d, %q, %q", c.x.Response.Status, c.x.Failure, fieldsOf(&c.x.Response.Header))
			}
		}
		if n := asked.Load(); n != 1 {
			t.Errorf("asked %d times", n)
		}
	})
}

func TestWaitingHasAnEnd(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, Options{}, Policy{Wait: 3 * time.Second})
		header := make(chan bool)
		var asked atomic.Int64
		r.origin = func(x *exchange.Exchange) {
			if asked.Add(1) == 1 {
				<-header
			}
			respond(t, x, fresh+"a")
		}
		first := r.start("GET /")
		synctest.Wait()
		second := r.start("GET /")
		time.Sleep(4 * time.Second)
		synctest.Wait()
		if first.done.Load() || second.sofar() != "a" {
			t.Errorf("second client has %q", second.sofar())
		}
		x := request(t, "GET /other")
		ctx, cancel := context.WithCancel(t.Context())
		x.SetContext(ctx)
		asked.Store(0)
		r.start("GET /other")
		synctest.Wait()
		gone := make(chan int)
		go func() {
			r.handler.Serve(x)
			gone <- x.Response.Status
			x.End()
		}()
		synctest.Wait()
		cancel()
		if status := <-gone; status != 503 {
			t.Errorf("client that is gone got %d", status)
		}
		close(header)
	})
}

func TestPanicOfTheOriginFreesTheOthers(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, Options{}, Policy{})
		header := make(chan bool)
		var asked atomic.Int64
		r.origin = func(x *exchange.Exchange) {
			if asked.Add(1) == 1 {
				<-header
				panic("broken handler")
			}
			respond(t, x, fresh+"a")
		}
		go func() {
			defer func() { _ = recover() }()
			r.handler.Serve(request(t, "GET /"))
		}()
		synctest.Wait()
		second := r.start("GET /")
		synctest.Wait()
		close(header)
		synctest.Wait()
		if second.sofar() != "a" {
			t.Errorf("second client has %q", second.sofar())
		}
	})
}

func TestValidationIsCollapsed(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, Options{}, Policy{})
		header := make(chan bool)
		var asked atomic.Int64
		r.origin = func(x *exchange.Exchange) {
			if asked.Add(1) == 1 {
				respond(t, x, "200\nETag: \"a\"\nCache-Control: max-age=1\n\nbody")
				return
			}
			<-header
			respond(t, x, "304\nETag: \"a\"\nCache-Control: max-age=60")
		}
		r.serve(request(t, "GET /"))
		time.Sleep(2 * time.Second)
		var all []*client
		for range 100 {
			all = append(all, r.start("GET /"))
		}
		synctest.Wait()
		close(header)
		synctest.Wait()
		for _, c := range all {
			if c.sofar() != "body" || c.x.Response.Status != 200 {
				t.Errorf("status %d, %q", c.x.Response.Status, c.sofar())
			}
		}
		if n := asked.Load(); n != 2 {
			t.Errorf("asked %d times", n)
		}
	})
}

func TestRefreshIsOneRequest(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, Options{}, Policy{})
		header := make(chan bool)
		var asked atomic.Int64
		r.origin = func(x *exchange.Exchange) {
			if asked.Add(1) > 1 {
				<-header
			}
			respond(t, x, fmt.Sprintf("200\nCache-Control: max-age=10, stale-while-revalidate=100\n\n%d", asked.Load()))
		}
		r.serve(request(t, "GET /"))
		time.Sleep(20 * time.Second)
		for range 100 {
			if got := r.serve(request(t, "GET /")); got.body != "1" {
				t.Errorf("got %q", got.body)
			}
		}
		synctest.Wait()
		if n := asked.Load(); n != 2 {
			t.Errorf("asked %d times", n)
		}
		close(header)
		synctest.Wait()
		if got := r.serve(request(t, "GET /")); got.body != "2" {
			t.Errorf("got %q after the refresh", got.body)
		}
		time.Sleep(2 * time.Second) // timers of the bubble
	})
}

func TestWhatArrivesIsBounded(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, Options{Memory: 1 << 20}, Policy{})
		bodies := map[string]*slow{}
		for i := range 10 {
			bodies[fmt.Sprint("/", i)] = newSlow()
		}
		r.origin = func(x *exchange.Exchange) {
			x.Response.Status, x.Response.Length, x.Response.Body = 200, exchange.Unknown, bodies[string(x.Request.Path)]
			addFields(&x.Response.Header, []string{"Cache-Control: max-age=60"})
		}
		var all []*client
		for path := range bodies {
			all = append(all, r.start("GET "+path))
		}
		most := int64(0)
		for range 200 {
			for _, b := range bodies {
				b.pieces <- strings.Repeat("x", 1000)
			}
			synctest.Wait()
			most = max(most, r.cache.Stats().Filling)
		}
		for _, b := range bodies {
			close(b.pieces)
		}
		synctest.Wait()
		for _, c := range all {
			if n := len(c.sofar()); n != 200_000 || c.err != nil {
				t.Errorf("client has %d bytes, %v", n, c.err)
			}
		}
		if stats := r.cache.Stats(); most > 1<<19 || most < 1<<18 || stats.Filling != 0 {
			t.Errorf("at most %d bytes arrived at once, %+v", most, stats)
		}
		r.play([]step{{ask: "GET /", origin: fresh + "a", want: "200\n\na"}, {ask: "GET /", want: "200\n\na"}})
	})
}

func TestUseAfterClose(t *testing.T) {
	r := newRig(t, Options{DiskPath: t.TempDir(), DiskBytes: 1 << 30}, Policy{})
	asked := r.echo("Cache-Control: max-age=60")
	r.close()
	for range 2 {
		if got := r.ask("GET /"); got != "/ 1" {
			t.Errorf("got %q", got)
		}
	}
	if *asked != 1 {
		t.Errorf("asked %d times", *asked)
	}
}

// TestFetchIsOfTheClient holds what the origin is asked for to what the client
// is, and the time of the client to the client.
func TestFetchIsOfTheClient(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, Options{}, Policy{})
		body := newSlow()
		r.origin = func(x *exchange.Exchange) {
			if x.Source != netip.MustParseAddr("192.0.2.1") || !x.Trusted || x.Answer != time.Second || string(x.ID) != "id" ||
				x.Deadline.Sub(x.Began) != time.Minute || x.Client == nil || x.Route != "route" {
				t.Errorf("the origin is asked by %+v", x)
			}
			addFields(&x.Response.Header, []string{"Cache-Control: " + string(x.Request.Query)})
			x.Response.Status, x.Response.Length, x.Response.Body = 200, exchange.Unknown, body
			x.Backend, x.Pool, x.Attempts = netip.MustParseAddrPort("192.0.2.2:80"), "pool", 2
		}
		for _, control := range []string{"max-age=600", "no-store"} {
			x := request(t, "GET /?"+control)
			x.Client, x.Source, x.Trusted, x.Answer, x.ID = &exchange.Client{}, netip.MustParseAddr("192.0.2.1"), true, time.Second, []byte("id")
			x.Deadline, x.Route = x.Began.Add(time.Minute), "route"
			r.handler.Serve(x)
			if x.Backend.Port() != 80 || x.Pool != "pool" || x.Attempts != 2 {
				t.Errorf("%s: the log has %v, %q, %d", control, x.Backend, x.Pool, x.Attempts)
			}
			x.End()
		}
		time.Sleep(2 * time.Minute) // long after the client's time
		body.pieces <- "late"
		close(body.pieces)
		synctest.Wait()
		if got := r.ask("GET /?max-age=600"); got != "late" {
			t.Errorf("got %q", got)
		}
	})
}
