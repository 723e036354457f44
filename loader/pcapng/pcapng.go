// Package pcapng writes captured packets as files that Wireshark and tcpdump
// read (draft-ietf-opsawg-pcapng). Unlike writers of libraries, it says of each
// packet which way it went, what XDP decided, and why.
package pcapng

import (
	"encoding/binary"
	"fmt"
	"io"
	"time"
)

// Block types and option codes.
const (
	blockSection   = 0x0a0d0d0a
	blockInterface = 1
	blockPacket    = 6

	optEnd         = 0
	optComment     = 1
	optApplication = 4 // of sections
	optName        = 2 // of interfaces, as is the next
	optResolution  = 9
	optFlags       = 2 // of packets, as is the next
	optVerdict     = 7

	byteOrder     = 0x1a2b3c4d
	linkEthernet  = 1
	nanoseconds   = 9 // 10^-9
	verdictOfXDP  = 2
	maxOption     = 1<<16 - 1
	wholeSection  = ^uint64(0) // its length is not known
	versionOfFile = 1          // major; the minor is 0
)

// Direction is which way a packet went.
type Direction uint32

// Directions, as in epb_flags.
const (
	Inbound  Direction = 1
	Outbound Direction = 2
)

// Packet is one frame on an interface.
type Packet struct {
	Time      time.Time
	Interface string
	Direction Direction
	Length    uint32 // on the wire, bytes
	Data      []byte // the first of them
	Verdict   uint64 // enum xdp_action
	Comment   string
}

// Writer writes one section. It is not for concurrent use.
type Writer struct {
	w          io.Writer
	snaplen    uint32
	interfaces map[string]uint32
}

// NewWriter begins a file. application is what wrote it, snaplen how many bytes
// of a frame there are at most.
func NewWriter(w io.Writer, application string, snaplen uint32) (*Writer, error) {
	var b block
	b.u32(byteOrder)
	b.u16(versionOfFile)
	b.u16(0)
	b.u64(wholeSection)
	b.option(optApplication, []byte(application))
	out := &Writer{w: w, snaplen: snaplen, interfaces: map[string]uint32{}}
	return out, out.write(blockSection, b)
}

// Write adds a packet, and its interface when that is new.
func (w *Writer) Write(p Packet) error {
	id, known := w.interfaces[p.Interface]
	if !known {
		id = uint32(len(w.interfaces))
		if err := w.describe(p.Interface); err != nil {
			return err
		}
		w.interfaces[p.Interface] = id
	}
	at := uint64(p.Time.UnixNano())
	var b block
	b.u32(id)
	b.u32(uint32(at >> 32))
	b.u32(uint32(at))
	b.u32(uint32(len(p.Data)))
	b.u32(p.Length)
	b.padded(p.Data)
	if p.Comment != "" {
		b.option(optComment, []byte(p.Comment))
	}
	b.option(optFlags, binary.LittleEndian.AppendUint32(nil, uint32(p.Direction)))
	b.option(optVerdict, binary.LittleEndian.AppendUint64([]byte{verdictOfXDP}, p.Verdict))
	return w.write(blockPacket, b)
}

func (w *Writer) describe(name string) error {
	var b block
	b.u16(linkEthernet)
	b.u16(0)
	b.u32(w.snaplen)
	b.option(optName, []byte(name))
	b.option(optResolution, []byte{nanoseconds})
	return w.write(blockInterface, b)
}

// write puts a block's type and length around it, in one Write.
func (w *Writer) write(kind uint32, b block) error {
	if b.options {
		b.option(optEnd, nil)
	}
	const around = 12
	out := binary.LittleEndian.AppendUint32(make([]byte, 0, len(b.data)+around), kind)
	out = binary.LittleEndian.AppendUint32(out, uint32(len(b.data)+around))
	out = binary.LittleEndian.AppendUint32(append(out, b.data...), uint32(len(b.data)+around))
	if _, err := w.w.Write(out); err != nil {
		return fmt.Errorf("write a pcapng block: %w", err)
	}
	return nil
}

// block is the inside of one.
type block struct {
	data    []byte
	options bool
}

func (b *block) u16(v uint16) { b.data = binary.LittleEndian.AppendUint16(b.data, v) }
func (b *block) u32(v uint32) { b.data = binary.LittleEndian.AppendUint32(b.data, v) }
func (b *block) u64(v uint64) { b.data = binary.LittleEndian.AppendUint64(b.data, v) }

// padded adds bytes up to a multiple of four.
func (b *block) padded(data []byte) {
	b.data = append(b.data, data...)
	b.data = append(b.data, make([]byte, -len(data)&3)...)
}

// option adds one; what is too long for one is cut.
func (b *block) option(code uint16, value []byte) {
	value = value[:min(len(value), maxOption)]
	b.options = true
	b.u16(code)
	b.u16(uint16(len(value)))
	b.padded(value)
}
