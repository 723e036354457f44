package tier_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"
)

// gRPC is HTTP/2 on both sides, messages both ways at any time, and a status
// behind them.
func TestGRPC(t *testing.T) {
	backends := backend(t, func(w http.ResponseWriter, r *http.Request) {
		if r.ProtoMajor != 2 || r.Header.Get("Te") != "trailers" {
			t.Errorf("%s with TE %q", r.Proto, r.Header.Get("Te"))
		}
		w.Header().Set("Content-Type", "application/grpc")
		w.Header().Set("Trailer", "Grpc-Status")
		flush := http.NewResponseController(w).Flush
		_ = flush() // the call is taken
		buffer := make([]byte, 1024)
		for {
			n, err := r.Body.Read(buffer)
			if n > 0 {
				_, _ = w.Write(buffer[:n])
				_ = flush()
			}
			if err != nil {
				break
			}
		}
		w.Header().Set("Grpc-Status", "7")
		w.Header().Set(http.TrailerPrefix+"Grpc-Message", "over "+r.Trailer.Get("X-Last"))
	})
	r := start(t, "pools: [{name: a, http: {protocol: h2c}, backends: [{address: '127.0.0.1:1'}]}]\n"+
		web+"{name: all, pool: a}]}\n", backends)
	client := &http.Transport{Protocols: new(http.Protocols), DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "tcp", r.addr)
	}}
	client.Protocols.SetUnencryptedHTTP2(true)
	defer client.CloseIdleConnections()
	reader, writer := io.Pipe()
	call, err := http.NewRequestWithContext(t.Context(), "POST", "http://example.org/pkg.Service/Method", reader)
	if err != nil {
		t.Fatal(err)
	}
	call.Header.Set("Te", "trailers")
	call.Header.Set("Content-Type", "application/grpc")
	call.Trailer = http.Header{"X-Last": {"word"}}
	answer, err := client.RoundTrip(call)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	for i := range 50 {
		sent := fmt.Sprintf("message %d", i)
		if _, err := io.WriteString(writer, sent); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, len(sent))
		if _, err := io.ReadFull(answer.Body, got); err != nil || string(got) != sent {
			t.Fatalf("%q, %v, want %q", got, err, sent)
		}
	}
	writer.Close()
	if _, err := io.ReadAll(answer.Body); err != nil {
		t.Fatal(err)
	}
	if s, m := answer.Trailer.Get("Grpc-Status"), answer.Trailer.Get("Grpc-Message"); s != "7" || m != "over word" {
		t.Errorf("status %q, message %q", s, m)
	}
}
