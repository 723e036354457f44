package proxyproto

import (
	"bytes"
	"errors"
	"net/netip"
	"strings"
	"testing"
)

func header(source, destination string) Header {
	return Header{netip.MustParseAddrPort(source), netip.MustParseAddrPort(destination)}
}

func TestParse(t *testing.T) {
	v4, v6 := header("192.0.2.1:56324", "192.0.2.2:443"), header("[2001:db8::1]:1", "[2001:db8::2]:65535")
	two := func(rest string) string { return signature2 + rest }
	for _, c := range []struct {
		name, in string
		want     Header
		refused  string
	}{
		{"1, IPv4", "PROXY TCP4 192.0.2.1 192.0.2.2 56324 443\r\n", v4, ""},
		{"1, IPv6", "PROXY TCP6 2001:db8::1 2001:db8::2 1 65535\r\n", v6, ""},
		{"1, unknown", "PROXY UNKNOWN\r\n", Header{}, ""},
		{"1, unknown with addresses", "PROXY UNKNOWN 2001:db8::1 ffff::1 1 2\r\n", Header{}, ""},
		{"2, IPv4", two("\x21\x11\x00\x0c\xc0\x00\x02\x01\xc0\x00\x02\x02\xdc\x04\x01\xbb"), v4, ""},
		{"2, IPv4 with an extension", two("\x21\x11\x00\x10\xc0\x00\x02\x01\xc0\x00\x02\x02\xdc\x04\x01\xbb\x04\x00\x01x"), v4, ""},
		{"2, local", two("\x20\x11\x00\x01x"), Header{}, ""},
		{"2, unspecified", two("\x21\x00\x00\x00"), Header{}, ""},

		{"HTTP", "GET / HTTP/1.1\r\n", Header{}, "no PROXY header"},
		{"1, small letters", "proxy TCP4 192.0.2.1 192.0.2.2 56324 443\r\n", Header{}, "no PROXY header"},
		{"1, other family", "PROXY TCP4 2001:db8::1 2001:db8::2 1 2\r\n", Header{}, "family"},
		{"1, UDP", "PROXY UDP4 192.0.2.1 192.0.2.2 1 2\r\n", Header{}, "TCP4"},
		{"1, too few", "PROXY TCP4 192.0.2.1 192.0.2.2 1\r\n", Header{}, "two ports"},
		{"1, two spaces", "PROXY TCP4  192.0.2.1 192.0.2.2 1 2\r\n", Header{}, "two ports"},
		{"1, port", "PROXY TCP4 192.0.2.1 192.0.2.2 1 65536\r\n", Header{}, "port"},
		{"1, port with a zero", "PROXY TCP4 192.0.2.1 192.0.2.2 01 2\r\n", Header{}, "port"},
		{"1, zone", "PROXY TCP6 fe80::1%eth0 fe80::2 1 2\r\n", Header{}, "family"},
		{"1, no end", "PROXY TCP4 " + strings.Repeat("1", 100), Header{}, "without an end"},
		{"2, version 3", two("\x31\x11\x00\x00"), Header{}, "version"},
		{"2, command 2", two("\x22\x11\x00\x00"), Header{}, "version"},
		{"2, UDP", two("\x21\x12\x00\x0c\xc0\x00\x02\x01\xc0\x00\x02\x02\xdc\x04\x01\xbb"), Header{}, "TCP"},
		{"2, short", two("\x21\x11\x00\x04\xc0\x00\x02\x01"), Header{}, "addresses"},
		{"2, long", two("\x21\x11\xff\xff"), Header{}, "over"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, n, err := Parse([]byte(c.in + "GET"))
			if c.refused != "" {
				if err == nil || errors.Is(err, ErrIncomplete) || !strings.Contains(err.Error(), c.refused) {
					t.Errorf("got %v, %v, want it refused: %s", got, err, c.refused)
				}
				return
			}
			if err != nil || got != c.want || n != len(c.in) {
				t.Errorf("got %v, %d of %d, %v, want %v", got, n, len(c.in), err, c.want)
			}
			for i := range len(c.in) {
				if _, _, err := Parse([]byte(c.in[:i])); !errors.Is(err, ErrIncomplete) {
					t.Fatalf("%q: %v", c.in[:i], err)
				}
			}
		})
	}
}

// FuzzParse: what is taken says the same when it is written again.
func FuzzParse(f *testing.F) {
	f.Add([]byte("PROXY TCP4 192.0.2.1 192.0.2.2 56324 443\r\n"))
	f.Add([]byte("PROXY UNKNOWN\r\n"))
	f.Add([]byte(signature2 + "\x21\x11\x00\x0c\xc0\x00\x02\x01\xc0\x00\x02\x02\xdc\x04\x01\xbb"))
	f.Add(Append(nil, 2, header("[2001:db8::1]:1", "[2001:db8::2]:65535")))
	f.Fuzz(func(t *testing.T, in []byte) {
		h, n, err := Parse(in)
		if err != nil {
			return
		}
		if n < 1 || n > len(in) || n > MaxLen {
			t.Fatalf("%d of %d bytes", n, len(in))
		}
		for version := 1; version <= 2; version++ {
			out := Append(nil, version, h)
			again, n, err := Parse(out)
			known := h.Source.IsValid() && h.Source.Addr().Is4() == h.Destination.Addr().Is4()
			if err != nil || n != len(out) || known && again != h {
				t.Fatalf("%v is written as %q and read as %v, %v", h, out, again, err)
			}
		}
		if _, _, err := Parse(bytes.Clone(in[:n])); err != nil {
			t.Fatalf("the header alone: %v", err)
		}
	})
}
