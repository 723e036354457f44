package cache

import (
	"bytes"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"

	"weir/l7/compress"
	"weir/l7/exchange"
)

// TestCompressedVariants has a cache in front of what compresses: each variant
// is made once, and validated by the tag that it got.
func TestCompressedVariants(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		text := strings.Repeat("all work and no play ", 200)
		f, err := compress.New(compress.Options{})
		if err != nil {
			t.Fatal(err)
		}
		c, err := New(Options{Memory: 16 << 20})
		if err != nil {
			t.Fatal(err)
		}
		asked, validated := 0, 0
		origin := exchange.HandlerFunc(func(x *exchange.Exchange) {
			asked++
			fields := "\nCache-Control: max-age=10\nContent-Type: text/plain\nETag: \"a\""
			if tag := string(x.Request.Header.Get(exchange.IfNoneMatch)); tag == `"a"` || tag == `W/"a"` {
				validated++
				respond(t, x, "304"+fields)
				return
			}
			respond(t, x, "200"+fields+"\n\n"+text)
		})
		r := &rig{t: t, cache: c, handler: c.Handler(Policy{}, f.Handler(origin))}
		get := func(accept string) answered {
			a := r.serve(request(t, "GET /\nAccept-Encoding: "+accept))
			if accept == "gzip" {
				z, err := gzip.NewReader(bytes.NewReader([]byte(a.body)))
				if err != nil {
					t.Fatal(err)
				}
				plain, err := io.ReadAll(z)
				if err != nil {
					t.Fatal(err)
				}
				a.body = string(plain)
				check(t, accept, "Content-Encoding: gzip\nETag: W/\"a\"\nVary: Accept-Encoding", a.fields)
			} else {
				check(t, accept, "!Content-Encoding\nETag: \"a\"\nVary: Accept-Encoding", a.fields)
			}
			if a.body != text {
				t.Errorf("%s: body %.50q", accept, a.body)
			}
			return a
		}
		for range 3 {
			get("gzip")
			get("deflate")
		}
		if asked != 2 {
			t.Errorf("asked %d times for two variants", asked)
		}
		time.Sleep(11 * time.Second)
		for range 3 {
			get("gzip")
			get("deflate")
		}
		if asked != 4 || validated != 2 {
			t.Errorf("asked %d times, validated %d", asked, validated)
		}
	})
}
