package api

import (
	"bufio"
	"context"
	"io"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"weir/loader/control"
	"weir/loader/control/controltest"
	"weir/loader/lb"
)

// serve runs a server with short limits and returns a connection to it.
func serve(t *testing.T) (net.Conn, *controltest.DataPlane) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	data := controltest.NewDataPlane()
	cfg := lb.Config{StateDir: t.TempDir(), EventSample: 1}
	c := control.New(control.Options{Config: cfg, DataPlane: data, Hops: controltest.NewHops()})
	path := filepath.Join(t.TempDir(), "s")
	l, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	s := New(Options{Control: c, DataPlane: data})
	s.limits = limits{header: 30 * time.Millisecond, body: 30 * time.Millisecond, answer: 30 * time.Millisecond,
		idle: 30 * time.Millisecond, stop: time.Second}
	ended := make(chan error, 2)
	go func() { ended <- c.Run(ctx) }()
	go func() { ended <- s.Serve(ctx, l) }()
	t.Cleanup(func() { cancel(); <-ended; <-ended })
	if err := data.Await(ctx, func() bool { return len(data.Samples()) == 1 }); err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(10 * time.Second))
	return conn, data
}

func TestSlowClientsAreCutOff(t *testing.T) {
	for name, part := range map[string]string{
		"nothing":     "",
		"half a line": "GET /v1/sta",
		"no end":      "GET /v1/status HTTP/1.1\r\nHost: x\r\n",
		"no body":     "POST /v1/backends/web/10.0.0.1:80/weight HTTP/1.1\\r\\nHost: x\\r\\nContent-Length: 9\\r\\n\\r\\n",
		"idle":        "GET /v1/services HTTP/1.1\r\nHost: x\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			conn, _ := serve(t)
			if _, err := io.WriteString(conn, part); err != nil {
				t.Fatal(err)
			}
			if _, err := io.Copy(io.Discard, conn); err != nil {
				t.Errorf("the server did not close the connection: %v", err)
			}
		})
	}
}

func TestEventStreamHasNoTimeLimit(t *testing.T) {
	conn, data := serve(t)
	if _, err := io.WriteString(conn, "GET /v1/events HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if err := data.Await(t.Context(), func() bool { return len(data.Samples()) == 1 && data.Samples()[0] == 1 }); err != nil {
		t.Fatal(err)
	}
	time.Sleep(100 * time.Millisecond) // longer than every limit
	if err := data.Emit(t.Context(), lb.Event{Kind: "drop"}); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(conn)
	for lines.Scan() {
		if strings.Contains(lines.Text(), `"kind":"drop"`) {
			return
		}
	}
	t.Errorf("the stream ended: %v", lines.Err())
}
