package upstream_test

import (
	"net"
	"testing"

	"weir/l7/exchange"
	"weir/l7/internal/race"
	"weir/l7/upstream"
)

const get = "GET /index.html?q=1 HTTP/1.1\r\nHost: example.org\r\nUser-Agent: test/1.0\r\nAccept: */*\r\n\r\n"

// prebuilt answers as a cached hit does.
func prebuilt() exchange.Handler {
	answer := []byte("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 6\r\n\r\nhello\n")
	return exchange.HandlerFunc(func(x *exchange.Exchange) {
		x.Response.Status, x.Response.Length, x.Response.Prebuilt = 200, 6, answer
	})
}

// ask sends a GET on a connection that is kept and reads the answer.
func ask(t testing.TB, addr string) func() { return send(t, addr, get) }

// send sends a request on a connection that is kept and reads the answer.
func send(t testing.TB, addr, request string) func() {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	out, answer := []byte(request), make([]byte, 4096)
	return func() {
		if _, err := conn.Write(out); err != nil {
			t.Fatal(err)
		}
		n, err := conn.Read(answer)
		if err != nil || string(answer[:15]) != "HTTP/1.1 200 OK" {
			t.Fatalf("%q, %v", answer[:n], err)
		}
	}
}

// TestNoAllocation: a proxied GET and a cached hit on connections that are kept
// allocate nothing, at either end.
func TestNoAllocation(t *testing.T) {
	if race.Enabled {
		t.Skip("the race detector has sync.Pool drop what it is given")
	}
	backend := front(t, prebuilt())
	for _, c := range []struct{ name, addr string }{
		{"prebuilt", backend},
		{"proxied", front(t, pool(t, upstream.Options{Name: "p"}, backend))},
	} {
		if n := testing.AllocsPerRun(500, ask(t, c.addr)); n != 0 {
			t.Errorf("%s: %v allocations", c.name, n)
		}
	}
}

func BenchmarkPrebuilt(b *testing.B) { benchmark(b, front(b, prebuilt())) }

func BenchmarkProxied(b *testing.B) {
	benchmark(b, front(b, pool(b, upstream.Options{Name: "p"}, front(b, prebuilt()))))
}

func benchmark(b *testing.B, addr string) {
	once := ask(b, addr)
	b.ReportAllocs()
	for b.Loop() {
		once()
	}
}

// TestPostAllocation: nor does a request whose body comes with its head.
func TestPostAllocation(t *testing.T) {
	if race.Enabled {
		t.Skip("the race detector has sync.Pool drop what it is given")
	}
	addr := front(t, pool(t, upstream.Options{Name: "p"}, front(t, prebuilt())))
	if n := testing.AllocsPerRun(500, send(t, addr, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello")); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
