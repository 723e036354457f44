package cpio

import (
	"bytes"
	"errors"
	"fmt"
	"os/exec"
	"strconv"
	"strings"
	"testing"
)

// member is an entry as read back.
type member struct {
	name         string
	mode         uint64
	major, minor uint64
	content      string
}

// read follows the format's description and not the writer: 6 bytes of magic,
// 13 fields of 8 hexadecimal digits, the name with its zero, the content; name
// and content end on multiples of four.
func read(t *testing.T, archive []byte) []member {
	t.Helper()
	var members []member
	for at := 0; ; {
		head := archive[at : at+110]
		if string(head[:6]) != "070701" {
			t.Fatalf("at %d: magic %q", at, head[:6])
		}
		field := func(i int) uint64 {
			v, err := strconv.ParseUint(string(head[6+8*i:14+8*i]), 16, 32)
			if err != nil {
				t.Fatal(err)
			}
			return v
		}
		size, nameSize := int(field(6)), int(field(11))
		name := string(archive[at+110 : at+110+nameSize-1])
		at = (at + 110 + nameSize + 3) &^ 3
		if name == "TRAILER!!!" {
			if at != len(archive) {
				t.Errorf("%d bytes after the trailer", len(archive)-at)
			}
			return members
		}
		members = append(members, member{name, field(1), field(9), field(10), string(archive[at : at+size])})
		at = (at + size + 3) &^ 3
	}
}

func TestArchive(t *testing.T) {
	var b bytes.Buffer
	w := NewWriter(&b)
	w.Dir("dev")
	w.Char("dev/console", 0o600, 5, 1)
	want := []member{{"dev", 0o040755, 0, 0, ""}, {"dev/console", 0o020600, 5, 1, ""}}
	for size := range 6 {
		name, content := fmt.Sprintf("f%0*d", size+1, size), strings.Repeat("x", size)
		w.File(name, 0o755, []byte(content))
		want = append(want, member{name, 0o100755, 0, 0, content})
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	got := read(t, b.Bytes())
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
}

// The tool of the same name must agree where it is installed.
func TestToolReadsArchive(t *testing.T) {
	tool, err := exec.LookPath("cpio")
	if err != nil {
		t.Skip("no cpio here; TestArchive reads by the format's description")
	}
	var b bytes.Buffer
	w := NewWriter(&b)
	w.Dir("d")
	w.File("d/f", 0o644, []byte("hello"))
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(tool, "-t", "--quiet")
	cmd.Stdin = &b
	out, err := cmd.CombinedOutput()
	if err != nil || string(out) != "d\nd/f\n" {
		t.Errorf("cpio -t: %q, %v", out, err)
	}
}

type full struct{}

func (full) Write([]byte) (int, error) { return 0, errors.New("disk full") }

func TestErrorSticks(t *testing.T) {
	w := NewWriter(full{})
	w.Dir("d")
	if err := w.Close(); err == nil || !strings.Contains(err.Error(), "disk full") {
		t.Errorf("Close: %v, want the write's error", err)
	}
}
