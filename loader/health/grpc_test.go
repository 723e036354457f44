package health

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"testing"
	"time"

	"weir/loader/lb"
)

// reply is a gRPC answer with a message and trailers.
func grpcReply(frame []byte, status string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/grpc")
		w.Header().Set("Trailer", "Grpc-Status")
		w.Write(frame)
		if status != "" {
			w.Header().Set("Grpc-Status", status)
		}
	}
}

func TestGRPC(t *testing.T) {
	for _, c := range []struct {
		name   string
		answer http.HandlerFunc
		want   Reason
		text   string
	}{
		{"serving", grpcReply(grpcFrame([]byte{8, 1}), "0"), "", ""},
		{"not serving", grpcReply(grpcFrame([]byte{8, 2}), "0"), ReasonStatus, "NOT_SERVING"},
		{"an empty message", grpcReply(grpcFrame(nil), "0"), ReasonStatus, "UNKNOWN"},
		{"a number of its own", grpcReply(grpcFrame([]byte{8, 99}), "0"), ReasonStatus, "99"},
		{"unknown service", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Grpc-Status", "5")
			w.Header().Set("Grpc-Message", "unknown service")
		}, ReasonStatus, `"5" "unknown service"`},
		{"no such method", grpcReply(nil, "12"), ReasonStatus, `"12"`},
		{"no status", grpcReply(grpcFrame([]byte{8, 1}), ""), ReasonMalformed, "no grpc-status"},
		{"HTTP error", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) }, ReasonStatus, "502"},
		{"no message", grpcReply(nil, "0"), ReasonMalformed, "cut off"},
		{"compressed", grpcReply([]byte{1, 0, 0, 0, 2, 8, 1}, "0"), ReasonMalformed, "compressed"},
		{"wrong length", grpcReply([]byte{0, 0, 0, 0, 3, 8, 1}, "0"), ReasonMalformed, "says it has 3"},
		{"bad protobuf", grpcReply(grpcFrame([]byte{0xff, 0xff}), "0"), ReasonMalformed, "cut off"},
		{"no end", func(w http.ResponseWriter, _ *http.Request) {
			for {
				if _, err := w.Write(make([]byte, 4096)); err != nil {
					return
				}
			}
		}, ReasonMalformed, "longer than 65536 bytes"},
		{"drips", func(w http.ResponseWriter, r *http.Request) {
			for r.Context().Err() == nil {
				w.Write([]byte{0})
				w.(http.Flusher).Flush()
				time.Sleep(10 * time.Millisecond)
			}
		}, ReasonTimeout, "no answer in time"},
	} {
		t.Run(c.name, func(t *testing.T) {
			leavesNothing(t)
			to := serveHTTPS(t, nil, func(w http.ResponseWriter, r *http.Request) {
				body, err := io.ReadAll(r.Body)
				if err != nil || r.URL.Path != grpcPath || !bytes.Equal(body, []byte("\x00\x00\x00\x00\x05\x0a\x03web")) {
					t.Errorf("request for %s with %x, %v", r.URL.Path, body, err)
				}
				c.answer(w, r)
			})
			h := lb.Health{Type: lb.HealthGRPC, Service: "web"}
			if c.want == ReasonTimeout {
				h.Timeout = 2 * probeTimeout
			}
			_, err := probe(t, h, addrPort(t, to))
			wantResult(t, err, c.want, c.text)
		})
	}
}

func TestGRPCOverTLS(t *testing.T) {
	leavesNothing(t)
	ca := newAuthority(t)
	to := serveHTTPS(t, ca.server(t, "127.0.0.1", time.Now().Add(time.Hour)), grpcReply(grpcFrame([]byte{8, 1}), "0"))
	_, err := probe(t, lb.Health{Type: lb.HealthGRPCS, CA: ca.PEM, Verify: lb.VerifyFull}, addrPort(t, to))
	wantResult(t, err, "", "")
}

func TestReadHealthReply(t *testing.T) {
	for _, c := range []struct {
		message []byte
		want    string
	}{
		{[]byte{8, 1}, "SERVING <nil>"},
		{[]byte{8, 2, 8, 1}, "SERVING <nil>"},
		{[]byte{0x12, 2, 8, 2, 8, 1}, "SERVING <nil>"},                                  // bytes of field 2
		{[]byte{0x11, 0, 0, 0, 0, 0, 0, 0, 0, 0x1d, 0, 0, 0, 0, 8, 1}, "SERVING <nil>"}, // 64 and 32 bits
		{[]byte{0x12, 3, 8, 2}, "UNKNOWN the message is cut off"},
		{[]byte{0x11, 0}, "UNKNOWN the message is cut off"},
		{[]byte{8}, "UNKNOWN the message is cut off"},
		{[]byte{0, 1}, "UNKNOWN the message is cut off"}, // there is no field 0
		{[]byte{0x0b}, "UNKNOWN wire type 3 is not known"},
		{[]byte{0x12, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1}, "UNKNOWN the message is cut off"},
	} {
		status, err := readHealthReply(grpcFrame(c.message))
		if got := fmt.Sprintf("%s %v", status, err); got != c.want {
			t.Errorf("%x reads %s, want %s", c.message, got, c.want)
		}
	}
}

func FuzzHealthReply(f *testing.F) {
	f.Add(grpcFrame([]byte{8, 1}))
	f.Add(grpcFrame([]byte{0x12, 2, 8, 2, 8, 1}))
	f.Fuzz(func(t *testing.T, b []byte) {
		if status, err := readHealthReply(b); err != nil && status != 0 {
			t.Errorf("%x reads %s and %v", b, status, err)
		}
	})
}

// Whatever comes as an HTTP answer, little of it is read.
func FuzzHTTPAnswer(f *testing.F) {
	h := lb.Health{Type: lb.HealthHTTP, Method: "GET", Path: "/", Body: "ok", BodyRegexp: "^o"}
	h.Status, _ = lb.ParseStatusSet("200")
	checker, err := newHTTP(Target{Health: h})
	if err != nil {
		f.Fatal(err)
	}
	c := checker.(httpCheck)
	f.Add([]byte("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"))
	f.Add([]byte("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"))
	f.Add([]byte("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.0 200 OK\r\n\r\nok"))
	f.Fuzz(func(t *testing.T, b []byte) {
		from := &countingReader{r: bytes.NewReader(b)}
		err := c.read(from)
		if err == nil && !bytes.Contains(b, []byte("200")) {
			t.Errorf("%q was taken for good", b)
		}
		if from.n > maxHeaders+2*maxBody {
			t.Errorf("%d bytes were read", from.n)
		}
	})
}

type countingReader struct {
	r io.Reader
	n int
}

func (c *countingReader) Read(b []byte) (int, error) {
	n, err := c.r.Read(b)
	c.n += n
	return n, err
}
