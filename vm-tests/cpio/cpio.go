// Package cpio writes archives in the "newc" format, which the kernel unpacks
// as its first root file system (Documentation/driver-api/early-userspace/
// buffer-format.rst).
package cpio

import (
	"bytes"
	"fmt"
	"io"
)

// File types of cpio modes, as in stat(2).
const (
	dirType  = 0o040000
	charType = 0o020000
	fileType = 0o100000
)

const trailer = "TRAILER!!!"

// Writer writes one archive. The first error sticks and Close returns it.
type Writer struct {
	out     io.Writer
	written int64
	inode   uint32
	err     error
}

// NewWriter writes an archive to out.
func NewWriter(out io.Writer) *Writer { return &Writer{out: out} }

// Dir adds a directory, which must come before what is in it. Names have no
// leading slash.
func (w *Writer) Dir(name string) { w.entry(header{name: name, mode: dirType | 0o755}, nil) }

// File adds a file.
func (w *Writer) File(name string, perm uint32, content []byte) {
	w.entry(header{name: name, mode: fileType | perm}, content)
}

// Char adds a character device.
func (w *Writer) Char(name string, perm, major, minor uint32) {
	w.entry(header{name: name, mode: charType | perm, major: major, minor: minor}, nil)
}

// Close ends the archive.
func (w *Writer) Close() error {
	w.entry(header{name: trailer}, nil)
	return w.err
}

type header struct {
	name         string
	mode         uint32
	major, minor uint32
}

func (w *Writer) entry(h header, content []byte) {
	w.inode++
	var b bytes.Buffer
	b.WriteString("070701")
	for _, field := range [...]uint32{
		w.inode, h.mode, 0, 0, 1, 0, uint32(len(content)), // inode, mode, owner, group, links, time, size
		0, 0, h.major, h.minor, uint32(len(h.name)) + 1, 0, // device, the node's device, name, checksum
	} {
		fmt.Fprintf(&b, "%08X", field)
	}
	b.WriteString(h.name)
	b.WriteByte(0)
	w.write(b.Bytes())
	w.align()
	w.write(content)
	w.align()
}

func (w *Writer) write(b []byte) {
	if w.err != nil || len(b) == 0 {
		return
	}
	n, err := w.out.Write(b)
	w.written += int64(n)
	if err != nil {
		w.err = fmt.Errorf("write the archive: %w", err)
	}
}

// align pads to four bytes.
func (w *Writer) align() { w.write(make([]byte, -w.written&3)) }
