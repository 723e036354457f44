package prebuilt

import (
	"bytes"
	"io"
	"testing"
	"time"

	"weir/l7/exchange"
	"weir/l7/internal/race"
)

func TestBuild(t *testing.T) {
	messages := &Messages{}
	for _, c := range []struct{ method, want, body string }{
		{"GET", "HTTP/1.1 200 OK\r\nA: b\r\nContent-Length: 5\r\nAge: 7\r\n\r\nhello", "hello"},
		{"HEAD", "HTTP/1.1 200 OK\r\nA: b\r\nContent-Length: 5\r\nAge: 7\r\n\r\n", ""},
	} {
		x := &exchange.Exchange{}
		x.Request.Method = []byte(c.method)
		messages.Take(x).Build(x, []byte("HTTP/1.1 200 OK\r\nA: b\r\n"), []byte("hello"), Line{"Age", []byte("7")})
		if string(x.Response.Prebuilt) != c.want || x.Response.Length != 5 {
			t.Errorf("%s: %q of %d", c.method, x.Response.Prebuilt, x.Response.Length)
		}
		if c.body != "" {
			if got, err := io.ReadAll(x.Response.Body); string(got) != c.body || err != nil {
				t.Errorf("body %q, %v", got, err)
			}
		}
		x.End()
	}
}

func TestMemoryIsUsedAgain(t *testing.T) {
	if race.Enabled {
		t.Skip("the race detector empties pools")
	}
	messages, x := &Messages{}, &exchange.Exchange{}
	x.Request.Method = []byte("GET")
	head, content := []byte("HTTP/1.1 200 OK\r\n"), bytes.Repeat([]byte("x"), 1000)
	n := testing.AllocsPerRun(1000, func() {
		messages.Take(x).Build(x, head, content)
		x.End()
	})
	if n >= 1 { // the pool may lose some to a collection
		t.Errorf("%v allocations", n)
	}
}

func TestDates(t *testing.T) {
	var d Dates
	at := time.Date(1994, 11, 6, 8, 49, 37, 5e8, time.UTC)
	for _, c := range []struct {
		t    time.Time
		want string
	}{
		{at, "Sun, 06 Nov 1994 08:49:37 GMT"},
		{at.Add(4e8), "Sun, 06 Nov 1994 08:49:37 GMT"},
		{at.Add(6e8), "Sun, 06 Nov 1994 08:49:38 GMT"},
		{at.In(time.FixedZone("", 3600)), "Sun, 06 Nov 1994 08:49:37 GMT"},
	} {
		if got := string(d.At(c.t)); got != c.want {
			t.Errorf("%v is %q", c.t, got)
		}
	}
}
