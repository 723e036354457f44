package h1

import (
	"strings"
	"testing"
)

// decode reads a chunked body that comes in pieces of step bytes.
func decode(in string, step int) (data string, trailer string, rest int, err error) {
	var c chunks
	buf := []byte{}
	for pos := 0; ; {
		n, err := c.advance(buf)
		buf = buf[n:]
		if err != nil {
			return data, "", 0, err
		}
		if c.state == inData && len(buf) > 0 {
			n := min(int64(len(buf)), c.left)
			data += string(buf[:n])
			buf = buf[n:]
			c.left -= n
			continue
		}
		if c.state == ended {
			for _, f := range c.trailer.Fields() {
				trailer += string(f.Text) + "=" + string(f.Value) + " "
			}
			return data, trailer, len(buf) + len(in) - pos, nil
		}
		if pos == len(in) {
			return data, "", 0, errIncomplete
		}
		end := min(len(in), pos+step)
		buf = append(buf, in[pos:end]...)
		pos = end
	}
}

func TestChunks(t *testing.T) {
	for _, c := range []struct {
		name, in      string
		data, trailer string
		refused       string
	}{
		{"empty", "0\r\n\r\n", "", "", ""},
		{"one", "5\r\nhello\r\n0\r\n\r\n", "hello", "", ""},
		{"several", "1\r\na\r\nA\r\n0123456789\r\n00\r\n\r\n", "a0123456789", "", ""},
		{"extension", "5;a=b;c=\"d e\"\r\nhello\r\n0;x\r\n\r\n", "hello", "", ""},
		{"trailer", "0\r\nX-A: b\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\nHost: x\r\nAuthorization: y\r\n\r\n", "", "X-A=b ", ""},
		{"more follows", "1\r\na\r\n0\r\n\r\nGET", "a", "", ""},

		{"no size", "\r\nhello\r\n0\r\n\r\n", "", "", "size"},
		{"signed", "+5\r\nhello\r\n0\r\n\r\n", "", "", "size"},
		{"prefixed", "0x5\r\nhello\r\n0\r\n\r\n", "", "", "size"},
		{"space before", " 5\r\nhello\r\n0\r\n\r\n", "", "", "size"},
		{"space after", "5 \r\nhello\r\n0\r\n\r\n", "", "", "size"},
		{"huge", "ffffffffffffffff\r\nhello\r\n0\r\n\r\n", "", "", "size"},
		{"no digit", "5g\r\nhello\r\n0\r\n\r\n", "", "", "size"},
		{"bare LF after the size", "5\nhello\r\n0\r\n\r\n", "", "", "size"},
		{"bare LF in an extension", "5;a\nb\r\nhello\r\n0\r\n\r\n", "", "", "size"},
		{"bare CR in an extension", "5;a\rb\r\nhello\r\n0\r\n\r\n", "", "", "extension"},
		{"NUL in an extension", "5;a\x00\r\nhello\r\n0\r\n\r\n", "", "", "extension"},
		{"longer than its size", "4\r\nhello\r\n0\r\n\r\n", "", "", "longer"},
		{"bare LF after the data", "5\r\nhello\n0\r\n\r\n", "", "", "longer"},
		{"bare CR after the data", "5\r\nhello\rx0\r\n\r\n", "", "", "longer"},
		{"long extension", "5;" + strings.Repeat("a", 300) + "\r\nhello\r\n0\r\n\r\n", "", "", "size"},
		{"many extensions", strings.Repeat("1;"+strings.Repeat("a", 200)+"\r\nx\r\n", 100) + "0\r\n\r\n", "", "", "extension"},
		{"folded trailer", "0\r\nX: a\r\n b\r\n\r\n", "", "", "folded"},
		{"long trailer", "0\r\nX: " + strings.Repeat("a", 9000) + "\r\n\r\n", "", "", "trailer"},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, step := range []int{1, 2, 7, len(c.in)} {
				data, trailer, rest, err := decode(c.in, step)
				if c.refused != "" {
					if err == nil || !strings.Contains(err.Error(), c.refused) {
						t.Errorf("steps of %d: %q, %v, want it refused: %s", step, data, err, c.refused)
					}
					continue
				}
				if err != nil || data != c.data || trailer != c.trailer || c.name == "more follows" && rest != len("GET") {
					t.Errorf("steps of %d: %q, trailer %q, %d left, %v", step, data, trailer, rest, err)
				}
			}
		})
	}
}
