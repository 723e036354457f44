package cache

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"net/http"
	"strconv"
	"strings"

	"weir/l7/exchange"
)

// A file of the disk tier is one entry:
//
//	8 bytes  fileMagic
//	4        length of the description
//	8        length of the body
//	4        CRC-32C of the description
//	4        CRC-32C of the body
//	4        CRC-32C of the 28 bytes before
//	…        description, body
//
// Numbers are little-endian. The description is a list of numbers (varints) and
// texts (a varint of their length before them), as describe writes it.

const (
	fileMagic  = "weirobj1"
	fileHeader = 32
	// mostDescribed is a bound for what is read before it is checked, bytes.
	mostDescribed = 1 << 20
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli) // has an instruction of its own

var errDamaged = errors.New("damaged")

// encode gives what precedes the body in a file.
func encode(url string, e *entry) []byte {
	description := describe(nil, url, e)
	b := append(make([]byte, 0, fileHeader+len(description)), fileMagic...)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(description)))
	b = binary.LittleEndian.AppendUint64(b, uint64(len(e.body)))
	b = binary.LittleEndian.AppendUint32(b, crc32.Checksum(description, castagnoli))
	b = binary.LittleEndian.AppendUint32(b, crc32.Checksum(e.body, castagnoli))
	b = binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
	return append(b, description...)
}

func describe(b []byte, url string, e *entry) []byte {
	flags := uint64(0)
	for i, set := range []bool{e.noCache, e.strict, e.shared} {
		if set {
			flags |= 1 << i
		}
	}
	b = appendText(b, url)
	for _, n := range []int64{int64(e.status), e.responded, e.initialAge, e.lifetime, e.whileStale, e.ifError} {
		b = binary.AppendUvarint(b, uint64(n))
	}
	b = binary.AppendUvarint(b, flags)
	b = appendText(b, e.extra)
	b = appendText(b, string(e.head))
	b = binary.AppendUvarint(b, uint64(len(e.tags)))
	for _, tag := range e.tags {
		b = appendText(b, tag)
	}
	b = binary.AppendUvarint(b, uint64(len(e.vary)))
	for _, s := range e.vary {
		present := uint64(0)
		if s.present {
			present = 1
		}
		b = binary.AppendUvarint(appendText(appendText(b, s.name), s.value), present)
	}
	return b
}

func appendText(b []byte, text string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(text))), text...)
}

// preamble is what a file's first bytes say.
type preamble struct {
	described, body       int64
	describedSum, bodySum uint32
}

func readPreamble(r io.Reader) (p preamble, err error) {
	var b [fileHeader]byte
	if _, err := io.ReadFull(r, b[:]); err != nil {
		return p, fmt.Errorf("header: %w", err)
	}
	if string(b[:8]) != fileMagic || binary.LittleEndian.Uint32(b[28:]) != crc32.Checksum(b[:28], castagnoli) {
		return p, fmt.Errorf("header: %w", errDamaged)
	}
	p.described = int64(binary.LittleEndian.Uint32(b[8:]))
	p.body = int64(binary.LittleEndian.Uint64(b[12:]))
	p.describedSum, p.bodySum = binary.LittleEndian.Uint32(b[20:]), binary.LittleEndian.Uint32(b[24:])
	if p.described > mostDescribed || p.body < 0 {
		return p, fmt.Errorf("header: %w", errDamaged)
	}
	return p, nil
}

// decodeFile reads a file's entry, without its body unless that is wanted, which is
// at most that long.
func decodeFile(r io.Reader, withBody bool, most int64) (url string, e *entry, p preamble, err error) {
	if p, err = readPreamble(r); err != nil {
		return "", nil, p, err
	}
	description := make([]byte, p.described)
	if _, err := io.ReadFull(r, description); err != nil {
		return "", nil, p, fmt.Errorf("description: %w", err)
	}
	if crc32.Checksum(description, castagnoli) != p.describedSum {
		return "", nil, p, fmt.Errorf("description: %w", errDamaged)
	}
	if url, e, err = parseDescription(description); err != nil {
		return "", nil, p, err
	}
	e.length = p.body
	if !withBody {
		return url, e, p, nil
	}
	if p.body > most {
		return "", nil, p, fmt.Errorf("body of %d bytes: more than %d may be", p.body, most)
	}
	e.body = make([]byte, p.body)
	if _, err := io.ReadFull(r, e.body); err != nil {
		return "", nil, p, fmt.Errorf("body: %w", err)
	}
	if crc32.Checksum(e.body, castagnoli) != p.bodySum {
		return "", nil, p, fmt.Errorf("body: %w", errDamaged)
	}
	return url, e, p, nil
}

// unpacker reads a description; after the first thing that is not there it
// gives nothing.
type unpacker struct {
	rest []byte
	bad  bool
}

func (u *unpacker) number() uint64 {
	n, size := binary.Uvarint(u.rest)
	if size <= 0 {
		u.bad = true
		return 0
	}
	u.rest = u.rest[size:]
	return n
}

func (u *unpacker) text() string {
	n := u.number()
	if n > uint64(len(u.rest)) {
		u.bad = true
		return ""
	}
	text := string(u.rest[:n])
	u.rest = u.rest[n:]
	return text
}

// count is a number of things that take a byte at least.
func (u *unpacker) count() int {
	n := u.number()
	if n > uint64(len(u.rest)) {
		u.bad = true
		return 0
	}
	return int(n)
}

func parseDescription(b []byte) (url string, e *entry, err error) {
	u := &unpacker{rest: b}
	e = &entry{}
	url = u.text()
	e.status = int(min(u.number(), 1000))
	for _, to := range []*int64{&e.responded, &e.initialAge, &e.lifetime, &e.whileStale, &e.ifError} {
		if *to = int64(u.number()); *to < 0 {
			u.bad = true
		}
	}
	flags := u.number()
	e.noCache, e.strict, e.shared = flags&1 != 0, flags&2 != 0, flags&4 != 0
	e.extra = u.text()
	head := u.text()
	for range u.count() {
		e.tags = append(e.tags, u.text())
	}
	for range u.count() {
		s := selecting{name: u.text(), value: u.text()}
		s.id = exchange.NameOf(s.name)
		s.present = u.number() == 1
		e.vary = append(e.vary, s)
	}
	if u.bad || len(u.rest) > 0 {
		return "", nil, fmt.Errorf("description: %w", errDamaged)
	}
	builder, ok := parseHead(e.status, []byte(head))
	if !ok || e.finish(builder) == nil {
		return "", nil, fmt.Errorf("header of the answer: %w", errDamaged)
	}
	return url, e, nil
}

// parseHead finds the fields of a head that newHead and add wrote.
func parseHead(status int, head []byte) (b headBuilder, ok bool) {
	b = headBuilder{}
	line, rest, found := bytes.Cut(head, []byte("\r\n"))
	if want := strings.TrimSuffix("HTTP/1.1 "+strconv.Itoa(status)+" "+http.StatusText(status), "\r\n"); !found || string(line) != want {
		return b, false
	}
	b.head = append(b.head, head[:len(line)+2]...)
	for len(rest) > 0 {
		if line, rest, found = bytes.Cut(rest, []byte("\r\n")); !found {
			return b, false
		}
		name, value, found := bytes.Cut(line, []byte(": "))
		if !found || len(name) == 0 {
			return b, false
		}
		b.add(exchange.NameOf(name), name, value)
	}
	return b, !b.broken
}
