package pcapng

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os/exec"
	"reflect"
	"strings"
	"testing"
	"time"
)

// parsed is a file as parse understood it.
type parsed struct {
	application string
	interfaces  []string
	packets     []Packet
}

// parse reads a file with one section, by the words of the draft.
func parse(data []byte) (p parsed, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("a block is too short: %v", r)
		}
	}()
	for len(data) > 0 {
		kind, size := binary.LittleEndian.Uint32(data), binary.LittleEndian.Uint32(data[4:])
		if size%4 != 0 || binary.LittleEndian.Uint32(data[size-4:]) != size {
			return p, fmt.Errorf("block of type %#x: lengths %d and %d", kind, size, binary.LittleEndian.Uint32(data[size-4:]))
		}
		body := data[8 : size-4]
		switch kind {
		case blockSection:
			if binary.LittleEndian.Uint32(body) != byteOrder || len(p.interfaces) > 0 {
				return p, errors.New("not the first block of a file of this machine's byte order")
			}
			p.application = string(options(body[16:])[optApplication])
		case blockInterface:
			o := options(body[8:])
			if binary.LittleEndian.Uint16(body) != linkEthernet || !bytes.Equal(o[optResolution], []byte{9}) {
				return p, errors.New("interface of another kind")
			}
			p.interfaces = append(p.interfaces, string(o[optName]))
		case blockPacket:
			p.packets = append(p.packets, packetOf(body, p.interfaces))
		default:
			return p, fmt.Errorf("block of type %#x", kind)
		}
		data = data[size:]
	}
	return p, nil
}

func packetOf(body []byte, interfaces []string) Packet {
	captured := binary.LittleEndian.Uint32(body[12:])
	o := options(body[20+(captured+3)&^3:])
	at := uint64(binary.LittleEndian.Uint32(body[4:]))<<32 | uint64(binary.LittleEndian.Uint32(body[8:]))
	return Packet{
		Interface: interfaces[binary.LittleEndian.Uint32(body)], Time: time.Unix(0, int64(at)),
		Length: binary.LittleEndian.Uint32(body[16:]), Data: body[20:][:captured],
		Comment: string(o[optComment]), Direction: Direction(binary.LittleEndian.Uint32(o[optFlags])),
		Verdict: binary.LittleEndian.Uint64(o[optVerdict][1:]),
	}
}

func options(b []byte) map[uint16][]byte {
	out := map[uint16][]byte{}
	for {
		code, size := binary.LittleEndian.Uint16(b), binary.LittleEndian.Uint16(b[2:])
		if code == optEnd {
			return out
		}
		out[code] = b[4:][:size]
		b = b[4+(int(size)+3)&^3:]
	}
}

func samples() []Packet {
	at := time.Date(2026, 1, 2, 3, 4, 5, 678901234, time.UTC).Local()
	frame := append([]byte{2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0}, make([]byte, 46)...)
	copy(frame[14:], []byte{0x45, 0, 0, 28, 0, 0, 0, 0, 64, 17, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2, 0, 7, 0, 9, 0, 8, 0, 0})
	return []Packet{
		{Time: at, Interface: "eth0", Direction: Inbound, Length: 60, Data: frame, Verdict: 3, Comment: "tx, service web"},
		{Time: at.Add(time.Nanosecond), Interface: "eth1", Direction: Outbound, Length: 1500, Data: frame[:57], Verdict: 4},
		{Time: at.Add(time.Second), Interface: "eth0", Direction: Inbound, Length: 14, Data: frame[:14], Verdict: 1, Comment: "drop ttl"},
	}
}

func written(t testing.TB, packets []Packet) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := NewWriter(&b, "weir test", 9216)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range packets {
		if err := w.Write(p); err != nil {
			t.Fatal(err)
		}
	}
	return b.Bytes()
}

func TestWriter(t *testing.T) {
	want := samples()
	got, err := parse(written(t, want))
	if err != nil {
		t.Fatal(err)
	}
	if got.application != "weir test" || !reflect.DeepEqual(got.interfaces, []string{"eth0", "eth1"}) || !reflect.DeepEqual(got.packets, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

// Another program reads it too, where there is one.
func TestTcpdumpReads(t *testing.T) {
	if _, err := exec.LookPath("tcpdump"); err != nil {
		t.Skip("no tcpdump")
	}
	cmd := exec.Command("tcpdump", "-n", "-tttt", "--nano", "-r", "-")
	cmd.Stdin, cmd.Env = bytes.NewReader(written(t, samples())), []string{"TZ=UTC"}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if n := strings.Count(string(out), "2026-01-02 03:04:0"); n != 3 || !strings.Contains(string(out), "03:04:05.678901234 IP 192.0.2.1.7 > 192.0.2.2.9: UDP, length 0") {
		t.Errorf("tcpdump says\n%s", out)
	}
}

type fullDisk struct{}

func (fullDisk) Write([]byte) (int, error) { return 0, errors.New("disk full") }

func TestWriterReportsErrors(t *testing.T) {
	if _, err := NewWriter(fullDisk{}, "", 1); err == nil || !strings.Contains(err.Error(), "disk full") {
		t.Errorf("got %v", err)
	}
}

// Whatever is written can be read.
func FuzzWriter(f *testing.F) {
	f.Add("eth0", "comment", []byte{1, 2, 3}, int64(1))
	f.Fuzz(func(t *testing.T, iface, comment string, data []byte, at int64) {
		want := []Packet{{Time: time.Unix(0, at), Interface: iface, Direction: Outbound, Length: 9, Data: data, Comment: comment}}
		got, err := parse(written(t, want))
		if err != nil || len(got.packets) != 1 || !bytes.Equal(got.packets[0].Data, data) || !got.packets[0].Time.Equal(want[0].Time) {
			t.Errorf("%+v, %v", got, err)
		}
	})
}
