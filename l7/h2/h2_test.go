package h2

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"testing"

	"weir/l7/endtest"
	"weir/l7/exchange"
)

func TestEnd(t *testing.T) {
	endtest.Run(t, func(t testing.TB, h exchange.HandlerFunc) *http.Client {
		_, l := serve(t, Options{}, h)
		return client(t, l)
	})
}

// serve starts an end with a handler; it and its connections end with the test.
func serve(t testing.TB, o Options, h exchange.HandlerFunc) (*End, net.Listener) {
	t.Helper()
	e := New(o, h)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	accept(t, l, func(conn net.Conn) {
		client := &exchange.Client{Listener: "test", Remote: conn.RemoteAddr().(*net.TCPAddr).AddrPort()}
		e.Serve(t.Context(), conn, client, nil)
	})
	return e, l
}

// accept serves connections until the test ends, and then closes what is open.
func accept(t testing.TB, l net.Listener, serve func(net.Conn)) {
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	t.Cleanup(func() {
		cancel()
		l.Close()
		<-done
	})
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			context.AfterFunc(ctx, func() { conn.Close() })
			go serve(conn)
		}
	}()
}

func client(t testing.TB, l net.Listener) *http.Client {
	to := func(ctx context.Context, network, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, l.Addr().String())
	}
	tr := &plainHTTPS{&http.Transport{DialContext: to, Protocols: new(http.Protocols)}}
	tr.Protocols.SetUnencryptedHTTP2(true)
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr}
}

// plainHTTPS asks for URLs of https without TLS.
type plainHTTPS struct{ *http.Transport }

func (p *plainHTTPS) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.URL.Scheme = "http"
	return p.Transport.RoundTrip(r)
}

func TestShutdown(t *testing.T) {
	entered, leave := make(chan bool), make(chan bool)
	e, l := serve(t, Options{}, func(x *exchange.Exchange) {
		entered <- true
		<-leave
		x.Response.Status = 200
		x.Response.SetBytes([]byte("finished"))
	})
	c := client(t, l)
	result := make(chan string, 1)
	go func() {
		answer, err := endtest.Ask(t, c, "GET", "/", nil)
		result <- fmt.Sprint(answer.Text, err)
	}()
	<-entered
	e.Shutdown()
	close(leave)
	if got := <-result; got != "finished<nil>" {
		t.Errorf("the open stream came to %s", got)
	}
}
