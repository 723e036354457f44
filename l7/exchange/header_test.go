package exchange

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
)

func TestNameOf(t *testing.T) {
	for n := Other + 1; n < Names; n++ {
		for _, text := range []string{n.String(), strings.ToLower(n.String()), strings.ToUpper(n.String())} {
			if got := NameOf(text); got != n {
				t.Errorf("NameOf(%q) = %v, want %v", text, got, n)
			}
		}
	}
	for _, text := range []string{"", "X", "Hos", "Hostt", "H\x0fst", "Accept-Encodinh", strings.Repeat("a", 100)} {
		if got := NameOf([]byte(text)); got != Other {
			t.Errorf("NameOf(%q) = %v, want none", text, got)
		}
	}
	if Names > 64 {
		t.Errorf("%d names do not fit the bits of Header.known", Names)
	}
}

func header(lines ...string) *Header {
	h := &Header{}
	for _, line := range lines {
		name, value, _ := strings.Cut(line, ": ")
		h.Add(name, []byte(value))
	}
	return h
}

func lines(h *Header) (all []string) {
	for _, f := range h.Fields() {
		all = append(all, string(f.Text)+": "+string(f.Value))
	}
	return all
}

func TestHeader(t *testing.T) {
	for _, c := range []struct {
		name string
		do   func(*Header)
		want []string
	}{
		{"add", func(h *Header) { h.Add("X-B", []byte("4")) }, []string{"Vary: 1", "X-A: 2", "vary: 3", "X-B: 4"}},
		{"add known", func(h *Header) { h.AddKnown(Age, []byte("4")) }, []string{"Vary: 1", "X-A: 2", "vary: 3", "Age: 4"}},
		{"set", func(h *Header) { h.Set("x-a", []byte("4")) }, []string{"Vary: 1", "vary: 3", "x-a: 4"}},
		{"set known", func(h *Header) { h.SetKnown(Vary, []byte("4")) }, []string{"X-A: 2", "Vary: 4"}},
		{"delete", func(h *Header) { h.Del("VARY") }, []string{"X-A: 2"}},
		{"delete other", func(h *Header) { h.Del("x-A") }, []string{"Vary: 1", "vary: 3"}},
		{"delete none", func(h *Header) { h.Del("Age"); h.Del("X-B") }, []string{"Vary: 1", "X-A: 2", "vary: 3"}},
		{"reset", (*Header).Reset, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := header("Vary: 1", "X-A: 2", "vary: 3")
			c.do(h)
			if got := lines(h); !slices.Equal(got, c.want) {
				t.Errorf("got %q, want %q", got, c.want)
			}
			for n := Other + 1; n < Names; n++ {
				if h.Has(n) != (h.Count(n) > 0) {
					t.Errorf("Has(%v) is %v, there are %d", n, h.Has(n), h.Count(n))
				}
			}
		})
	}
}

func TestHeaderGet(t *testing.T) {
	h := header("Vary: 1", "X-A: 2", "vary: 3", "x-a: 4")
	if got := string(h.Get(Vary)); got != "1" {
		t.Errorf("first Vary %q", got)
	}
	if h.Get(Age) != nil || h.GetText("X-B") != nil || string(h.GetText("x-A")) != "2" {
		t.Error("wrong field found")
	}
	var all []string
	for v := range h.Values("X-a") {
		all = append(all, string(v))
	}
	if !slices.Equal(all, []string{"2", "4"}) {
		t.Errorf("values of X-A: %q", all)
	}
}

func TestExchangeEnds(t *testing.T) {
	var order []string
	x := &Exchange{}
	x.Request.Body = closed{&order, "request"}
	x.Fail(502, "no backend")
	x.After(func() { order = append(order, "first") })
	x.After(func() { order = append(order, "second") })
	body, err := io.ReadAll(x.Response.Body)
	if err != nil || string(body) != "502 Bad Gateway\n" || x.Response.Length != int64(len(body)) {
		t.Errorf("body %q of %d, %v", body, x.Response.Length, err)
	}
	x.End()
	x.End()
	if want := []string{"request", "second", "first"}; !slices.Equal(order, want) {
		t.Errorf("order %q, want %q", order, want)
	}
	x.Reset()
	if x.Response.Status != 0 || x.Response.Header.Len() != 0 || x.Failure != "" || x.Request.Body != nil {
		t.Errorf("after Reset: %+v", x)
	}
}

type closed struct {
	order *[]string
	name  string
}

func (c closed) Read([]byte) (int, error) { return 0, io.EOF }

func (c closed) Close() error {
	*c.order = append(*c.order, c.name)
	return nil
}

func TestRoom(t *testing.T) {
	x := &Exchange{}
	var all [][]byte
	for round := range 3 {
		all = all[:0]
		for i := range 600 {
			b := x.Room(i % 70)
			if len(b) != 0 || cap(b) != i%70 {
				t.Fatalf("Room(%d) has %d of %d bytes", i%70, len(b), cap(b))
			}
			for range i % 70 {
				b = append(b, byte(i))
			}
			all = append(all, b)
		}
		for i, b := range all {
			if len(b) != i%70 || bytes.Count(b, []byte{byte(i)}) != len(b) {
				t.Fatalf("round %d: what %d got was written by another: % x", round, i, b)
			}
		}
		x.Reset()
	}
	for _, n := range []int{4 << 10, 1 << 20} {
		if b := new(Exchange).Room(n); cap(b) != n {
			t.Errorf("Room(%d) has %d bytes", n, cap(b))
		}
	}
	if n := testing.AllocsPerRun(100, func() { x.Room(100); x.Room(100); x.Reset() }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestDetach(t *testing.T) {
	buffer := []byte("GET/aexample.orgX-A12idYz345")
	x := &Exchange{ID: buffer[20:22]}
	x.Request.Method, x.Request.Path, x.Request.Authority = buffer[:3], buffer[3:5], buffer[5:16]
	x.Request.Header.Append(Other, buffer[16:19], buffer[19:20])
	x.Response.Header.Append(Other, buffer[22:24], buffer[24:])
	want := fmt.Sprintf("%s", []any{x.Request, x.ID, x.Response.Header})
	x.Detach()
	clear(buffer)
	if got := fmt.Sprintf("%s", []any{x.Request, x.ID, x.Response.Header}); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if x.Request.Query != nil {
		t.Errorf("query %q", x.Request.Query)
	}
}

func TestEnded(t *testing.T) {
	x, calls := &Exchange{}, 0
	x.Ended = func(ended *Exchange) {
		if ended != x {
			t.Error("called for another exchange")
		}
		calls++
	}
	x.End()
	x.End()
	if calls != 1 {
		t.Errorf("called %d times", calls)
	}
}
