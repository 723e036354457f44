package cache

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"weir/l7/exchange"
	"weir/l7/h1"
	"weir/l7/validator"
)

// step is one request and what is to become of it. Texts have a line for each
// field; {now}, {now+10s} and {now-1h} in them are dates.
type step struct {
	after  time.Duration // since the step before
	ask    string        // request line without version, then fields
	origin string        // what the origin answers: status, fields, blank line, body; "": it must not be asked
	sent   string        // fields that the origin must get; with ! before the name: must not get
	want   string        // status, then fields as in sent, blank line, body
}

// rig is a cache in front of a scripted origin, in the time of a bubble of
// synctest.
type rig struct {
	t       testing.TB
	cache   *Cache
	handler exchange.Handler
	origin  func(x *exchange.Exchange)
	wire    *wire // nil: requests go to the handler at once
}

func newRig(t testing.TB, o Options, p Policy) *rig {
	t.Helper()
	if o.Memory == 0 {
		o.Memory = 16 << 20
	}
	c, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Check(); err != nil {
		t.Fatal(err)
	}
	r := &rig{t: t, cache: c}
	r.handler = c.Handler(p, exchange.HandlerFunc(func(x *exchange.Exchange) { r.origin(x) }))
	return r
}

var dates = regexp.MustCompile(`\{now([+-][^}]+)?\}`)

func expand(t testing.TB, text string) string {
	return dates.ReplaceAllStringFunc(text, func(m string) string {
		d := time.Duration(0)
		if offset := dates.FindStringSubmatch(m)[1]; offset != "" {
			var err error
			if d, err = time.ParseDuration(offset); err != nil {
				t.Fatal(err)
			}
		}
		return string(validator.AppendDate(nil, time.Now().Add(d)))
	})
}

// message splits a text into its first line, fields and body.
func message(t testing.TB, text string) (first string, fields []string, body string, hasBody bool) {
	head, body, hasBody := strings.Cut(expand(t, text), "\n\n")
	lines := strings.Split(head, "\n")
	return lines[0], lines[1:], body, hasBody
}

func addFields(h *exchange.Header, lines []string) {
	for _, line := range lines {
		name, value, _ := strings.Cut(line, ":")
		h.Add(name, []byte(strings.TrimSpace(value)))
	}
}

// request makes an exchange of "GET /path" and fields.
func request(t testing.TB, text string) *exchange.Exchange {
	first, fields, body, hasBody := message(t, text)
	method, target, _ := strings.Cut(first, " ")
	path, query, _ := strings.Cut(target, "?")
	x := &exchange.Exchange{Began: time.Now()}
	q := &x.Request
	q.Method, q.Target, q.Authority, q.Path, q.Query = []byte(method), []byte(target), []byte("example.org"), []byte(path), []byte(query)
	addFields(&q.Header, fields)
	if host := q.Header.Get(exchange.Host); host != nil {
		q.Authority = host
		q.Header.DelKnown(exchange.Host)
	}
	if hasBody {
		q.Length, q.Body = int64(len(body)), exchange.NewBytes([]byte(body))
	}
	return x
}

// respond makes the response of a text. Its length is unknown if a field
// Length says so.
func respond(t testing.TB, x *exchange.Exchange, text string) {
	first, fields, body, _ := message(t, text)
	status, err := strconv.Atoi(first)
	if err != nil {
		t.Fatalf("answer %q: %v", text, err)
	}
	r := &x.Response
	r.Status = status
	addFields(&r.Header, fields)
	if n := r.Header.Get(exchange.ContentLength); n != nil { // of HEAD and 304
		r.Length, _ = strconv.ParseInt(string(n), 10, 64)
		r.Header.DelKnown(exchange.ContentLength)
		return
	}
	if string(x.Request.Method) == "HEAD" || status == 304 || status == 204 {
		return
	}
	r.SetBytes([]byte(body))
	if string(r.Header.GetText("Length")) == "unknown" {
		r.Header.Del("Length")
		r.Length = exchange.Unknown
	}
}

// answered is a response as a client sees it.
type answered struct {
	status int
	fields []string
	body   string
}

// serve sends one request through the cache.
func (r *rig) serve(x *exchange.Exchange) answered {
	r.t.Helper()
	r.handler.Serve(x)
	a := answered{status: x.Response.Status}
	for _, f := range x.Response.Header.Fields() {
		a.fields = append(a.fields, fmt.Sprintf("%s: %s", f.Text, f.Value))
	}
	if x.Response.Prebuilt != nil {
		r.prebuilt(x, a)
	}
	if x.Response.Body != nil {
		body, err := io.ReadAll(x.Response.Body)
		if err != nil {
			r.t.Errorf("%s %s: body: %v", x.Request.Method, x.Request.Target, err)
		}
		if n := x.Response.Length; n >= 0 && n != int64(len(body)) {
			r.t.Errorf("%s %s: %d bytes of %d", x.Request.Method, x.Request.Target, len(body), n)
		}
		a.body = string(body)
	}
	x.End()
	return a
}

// prebuilt holds the prebuilt bytes to header and body.
func (r *rig) prebuilt(x *exchange.Exchange, a answered) {
	head, body, _ := strings.Cut(string(x.Response.Prebuilt), "\r\n\r\n")
	lines := strings.Split(head, "\r\n")[1:]
	lines = slices.DeleteFunc(lines, func(l string) bool { return strings.HasPrefix(l, "Content-Length:") })
	if !slices.Equal(lines, a.fields) {
		r.t.Errorf("prebuilt %q, fields %q", lines, a.fields)
	}
	if string(x.Request.Method) == "GET" && int64(len(body)) != x.Response.Length {
		r.t.Errorf("prebuilt body of %d bytes, length %d", len(body), x.Response.Length)
	}
}

// play does the steps.
func (r *rig) play(steps []step) {
	t := r.t
	t.Helper()
	for i, s := range steps {
		time.Sleep(s.after)
		asked := 0
		r.origin = func(x *exchange.Exchange) {
			asked++
			if s.origin == "" {
				t.Errorf("step %d: %s: the origin was asked: %q", i, s.ask, fieldsOf(&x.Request.Header))
				respond(t, x, "200\nCache-Control: no-store\n\nunexpected")
				return
			}
			answers := strings.Split(s.origin, "\n---\n") // the second time another
			if asked == 1 {
				check(t, fmt.Sprintf("step %d: sent to the origin", i), s.sent, fieldsOf(&x.Request.Header))
			}
			respond(t, x, answers[min(asked, len(answers))-1])
		}
		var got answered
		if r.wire != nil {
			got = r.wire.serve(r, s.ask)
		} else {
			got = r.serve(request(t, s.ask))
		}
		synctest.Wait() // what goes on in the background
		if (asked > 0) != (s.origin != "") {
			t.Errorf("step %d: %s: the origin was asked %d times", i, s.ask, asked)
		}
		first, fields, body, hasBody := message(t, s.want)
		if first != strconv.Itoa(got.status) || hasBody && body != got.body {
			t.Errorf("step %d: %s: got %d %q, want %s %q (fields %q)", i, s.ask, got.status, got.body, first, body, got.fields)
		}
		check(t, fmt.Sprintf("step %d: answer", i), strings.Join(fields, "\n"), got.fields)
	}
}

func fieldsOf(h *exchange.Header) (all []string) {
	for _, f := range h.Fields() {
		all = append(all, fmt.Sprintf("%s: %s", f.Text, f.Value))
	}
	return all
}

// check compares some fields: a line must be there once as it is; one with !
// before it is the name of a field that must not be there.
func check(t testing.TB, what, want string, got []string) {
	t.Helper()
	for line := range strings.SplitSeq(expand(t, want), "\n") {
		switch {
		case line == "":
		case line[0] == '!':
			if slices.ContainsFunc(got, func(g string) bool {
				return strings.HasPrefix(strings.ToLower(g), strings.ToLower(line[1:])+":")
			}) {
				t.Errorf("%s: must have no %s: %q", what, line[1:], got)
			}
		case !slices.ContainsFunc(got, func(g string) bool { return canonical(g) == canonical(line) }):
			t.Errorf("%s: lacks %q: %q", what, line, got)
		}
	}
}

// inBubble runs a test in virtual time.
func inBubble(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	synctest.Test(t, f)
}

// canonical writes the name of a field in one way.
func canonical(line string) string {
	name, value, _ := strings.Cut(line, ":")
	return http.CanonicalHeaderKey(name) + ":" + value
}

// wire is a client's connection to a listener's HTTP/1.1 end with the cache
// behind it.
type wire struct {
	conn   net.Conn
	reader *bufio.Reader
	server *h1.Server
	done   sync.WaitGroup
}

func newWire(r *rig) *wire {
	ours, theirs := net.Pipe()
	w := &wire{conn: ours, reader: bufio.NewReader(ours)}
	w.server = h1.NewServer(h1.Options{
		Idle: 1e6 * time.Hour, // steps may be far apart
		Handler: exchange.HandlerFunc(func(x *exchange.Exchange) {
			path, query, _ := bytes.Cut(x.Request.Target, []byte("?"))
			x.Request.Path, x.Request.Query = path, query
			r.handler.Serve(x)
		}),
	})
	w.done.Go(func() { w.server.Serve(theirs, &exchange.Client{}) })
	return w
}

func (w *wire) serve(r *rig, ask string) (a answered) {
	r.t.Helper()
	first, fields, body, hasBody := message(r.t, ask)
	host := "Host: example.org"
	fields = slices.DeleteFunc(fields, func(f string) bool {
		if strings.HasPrefix(f, "Host:") {
			host = f
		}
		return strings.HasPrefix(f, "Host:")
	})
	lines := append([]string{first + " HTTP/1.1", host}, fields...)
	if hasBody {
		lines = append(lines, fmt.Sprintf("Content-Length: %d", len(body)))
	}
	if _, err := io.WriteString(w.conn, strings.Join(lines, "\r\n")+"\r\n\r\n"+body); err != nil {
		r.t.Fatal(err)
	}
	method, _, _ := strings.Cut(first, " ")
	answer, err := http.ReadResponse(w.reader, &http.Request{Method: method})
	if err != nil {
		r.t.Fatalf("%s: %v", ask, err)
	}
	content, err := io.ReadAll(answer.Body)
	if err != nil {
		r.t.Fatalf("%s: %v", ask, err)
	}
	for name, values := range answer.Header {
		for _, value := range values {
			a.fields = append(a.fields, name+": "+value)
		}
	}
	a.status, a.body = answer.StatusCode, string(content)
	return a
}

func (w *wire) close() {
	_ = w.conn.Close() // in memory
	w.done.Wait()
}
