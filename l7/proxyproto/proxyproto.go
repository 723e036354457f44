// Package proxyproto reads and writes the header of the PROXY protocol, by
// which a proxy tells whom a connection is for (HAProxy's proxy-protocol.txt,
// versions 1 and 2).
package proxyproto

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// MaxLen is the length of the longest header that is taken, bytes: version 2's
// extensions may make it longer, and nobody here needs them.
const MaxLen = 2048

// Header is what a PROXY header says. Without addresses the connection is the
// proxy's own, or of a family that has none here.
type Header struct {
	Source, Destination netip.AddrPort
}

// ErrIncomplete is the error for what may become a header with more bytes.
var ErrIncomplete = errors.New("incomplete PROXY header")

const (
	signature1 = "PROXY "
	signature2 = "\r\n\r\n\x00\r\nQUIT\n"
	longest1   = 107 // bytes, with the line end
	fixed2     = 16  // bytes before the addresses
)

// Version 2's thirteenth and fourteenth byte.
const (
	local      = 0x20
	proxy      = 0x21
	unspec     = 0x00
	tcp4       = 0x11
	tcp6       = 0x21
	addresses4 = 12
	addresses6 = 36
)

// Parse reads a header at the beginning of b. n is its length. ErrIncomplete
// asks for more.
func Parse(b []byte) (h Header, n int, err error) {
	switch {
	case bytes.HasPrefix(b, []byte(signature2)):
		return parse2(b)
	case bytes.HasPrefix(b, []byte(signature1)):
		return parse1(b)
	case strings.HasPrefix(signature1, string(b)) || strings.HasPrefix(signature2, string(b)):
		return Header{}, 0, ErrIncomplete
	}
	return Header{}, 0, fmt.Errorf("no PROXY header but %q", b[:min(len(b), 16)])
}

func parse1(b []byte) (Header, int, error) {
	end := bytes.Index(b[:min(len(b), longest1)], []byte("\r\n"))
	if end < 0 {
		if len(b) >= longest1 {
			return Header{}, 0, errors.New("a PROXY line without an end")
		}
		return Header{}, 0, ErrIncomplete
	}
	line := string(b[len(signature1):end])
	if line == "UNKNOWN" || strings.HasPrefix(line, "UNKNOWN ") {
		return Header{}, end + 2, nil
	}
	h, err := parseLine(line)
	if err != nil {
		return Header{}, 0, fmt.Errorf("PROXY %s: %w", strconv.Quote(line), err)
	}
	return h, end + 2, nil
}

func parseLine(line string) (h Header, err error) {
	parts := strings.Split(line, " ")
	if len(parts) != 5 || parts[0] != "TCP4" && parts[0] != "TCP6" {
		return h, errors.New("want TCP4 or TCP6, two addresses and two ports")
	}
	v4 := parts[0] == "TCP4"
	if h.Source, err = parseAddrPort(parts[1], parts[3], v4); err != nil {
		return h, err
	}
	h.Destination, err = parseAddrPort(parts[2], parts[4], v4)
	return h, err
}

func parseAddrPort(addr, port string, v4 bool) (netip.AddrPort, error) {
	a, err := netip.ParseAddr(addr)
	if err != nil {
		return netip.AddrPort{}, err
	}
	if a.Is4() != v4 || a.Zone() != "" {
		return netip.AddrPort{}, fmt.Errorf("%s is of another family", addr)
	}
	p, err := strconv.ParseUint(port, 10, 16)
	if err != nil || strconv.FormatUint(p, 10) != port {
		return netip.AddrPort{}, fmt.Errorf("port %q", port)
	}
	return netip.AddrPortFrom(a.Unmap(), uint16(p)), nil
}

func parse2(b []byte) (Header, int, error) {
	if len(b) < fixed2 {
		return Header{}, 0, ErrIncomplete
	}
	command, family := b[12], b[13]
	n := fixed2 + int(binary.BigEndian.Uint16(b[14:]))
	if command != local && command != proxy {
		return Header{}, 0, fmt.Errorf("PROXY version and command %#02x", command)
	}
	if n > MaxLen {
		return Header{}, 0, fmt.Errorf("a PROXY header of %d bytes is over %d", n, MaxLen)
	}
	if len(b) < n {
		return Header{}, 0, ErrIncomplete
	}
	if command == local {
		return Header{}, n, nil
	}
	h, err := addresses(family, b[fixed2:n])
	if err != nil {
		return Header{}, 0, err
	}
	return h, n, nil
}

func addresses(family byte, b []byte) (Header, error) {
	size := 0
	switch family {
	case unspec:
		return Header{}, nil
	case tcp4:
		size = addresses4
	case tcp6:
		size = addresses6
	default:
		return Header{}, fmt.Errorf("PROXY family and protocol %#02x is not TCP", family)
	}
	if len(b) < size {
		return Header{}, fmt.Errorf("a PROXY header with %d bytes of addresses, want %d", len(b), size)
	}
	width := (size - 4) / 2
	source, _ := netip.AddrFromSlice(b[:width])
	destination, _ := netip.AddrFromSlice(b[width : 2*width])
	ports := b[2*width:]
	return Header{
		Source:      netip.AddrPortFrom(source.Unmap(), binary.BigEndian.Uint16(ports)),
		Destination: netip.AddrPortFrom(destination.Unmap(), binary.BigEndian.Uint16(ports[2:])),
	}, nil
}

// Append writes a header of version 1 or 2. Addresses that are not both there,
// or of two families, are left out.
func Append(b []byte, version int, h Header) []byte {
	known := h.Source.IsValid() && h.Destination.IsValid() &&
		h.Source.Addr().Is4() == h.Destination.Addr().Is4()
	if version == 1 {
		return append1(b, h, known)
	}
	return append2(b, h, known)
}

func append1(b []byte, h Header, known bool) []byte {
	if !known {
		return append(b, "PROXY UNKNOWN\r\n"...)
	}
	family := "TCP6"
	if h.Source.Addr().Is4() {
		family = "TCP4"
	}
	return fmt.Appendf(b, "PROXY %s %s %s %d %d\r\n", family,
		h.Source.Addr().WithZone(""), h.Destination.Addr().WithZone(""), h.Source.Port(), h.Destination.Port())
}

func append2(b []byte, h Header, known bool) []byte {
	b = append(b, signature2...)
	if !known {
		return append(b, local, unspec, 0, 0)
	}
	if h.Source.Addr().Is4() {
		b = append(b, proxy, tcp4, 0, addresses4)
	} else {
		b = append(b, proxy, tcp6, 0, addresses6)
	}
	b = append(b, h.Source.Addr().AsSlice()...)
	b = append(b, h.Destination.Addr().AsSlice()...)
	b = binary.BigEndian.AppendUint16(b, h.Source.Port())
	return binary.BigEndian.AppendUint16(b, h.Destination.Port())
}
