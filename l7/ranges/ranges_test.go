package ranges

import (
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"slices"
	"strings"
	"testing"

	"weir/l7/exchange"
)

func TestParse(t *testing.T) {
	for _, c := range []struct {
		value  string
		size   int64
		want   []Range
		result Result
	}{
		{"bytes=0-9", 100, []Range{{0, 10}}, Parts},
		{"BYTES=0-9", 100, []Range{{0, 10}}, Parts},
		{"bytes=10-", 100, []Range{{10, 90}}, Parts},
		{"bytes=-10", 100, []Range{{90, 10}}, Parts},
		{"bytes=-200", 100, []Range{{0, 100}}, Parts},
		{"bytes=90-200", 100, []Range{{90, 10}}, Parts},
		{"bytes=0-99999999999999999999999", 100, []Range{{0, 100}}, Parts},
		{"bytes=0-0, 50-50 ,,-1", 100, []Range{{0, 1}, {50, 1}, {99, 1}}, Parts},
		{"bytes=100-, 0-0", 100, []Range{{0, 1}}, Parts},
		{"bytes=100-", 100, nil, Unsatisfiable},
		{"bytes=-0", 100, nil, Unsatisfiable},
		{"bytes=99999999999999999999-", 100, nil, Unsatisfiable},
		{"bytes=0-", 0, nil, Whole},
		{"lines=0-9", 100, nil, Whole},
		{"bytes 0-9", 100, nil, Whole},
		{"bytes=", 100, nil, Whole},
		{"bytes=,", 100, nil, Whole},
		{"bytes=9-0", 100, nil, Whole},
		{"bytes=0", 100, nil, Whole},
		{"bytes=-", 100, nil, Whole},
		{"bytes=a-b", 100, nil, Whole},
		{"bytes=0-+9", 100, nil, Whole},
		{"bytes=0-9,a", 100, nil, Whole},
		{"bytes=0 -9", 100, nil, Whole},
		{"bytes=0-9,5-14", 100, []Range{{0, 10}, {5, 10}}, Parts},
		{"bytes=0-9,5-14,8-20", 100, nil, Whole},
		{"bytes=0-,0-", 100, nil, Whole},
		{"bytes=" + strings.Repeat("0-0,", most+1), 100, nil, Whole},
	} {
		got, result := Parse(nil, []byte(c.value), c.size)
		if result != c.result || !slices.Equal(got, c.want) {
			t.Errorf("%q of %d: %v, %v, want %v, %v", c.value, c.size, got, result, c.want, c.result)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("bytes=0-9,-5, 20-"), int64(100))
	f.Add([]byte("bytes=9223372036854775807-9223372036854775807"), int64(1))
	f.Fuzz(func(t *testing.T, value []byte, size int64) {
		if size < 0 {
			return
		}
		got, result := Parse(nil, value, size)
		if (result == Parts) != (len(got) > 0) {
			t.Fatalf("%v with %v", result, got)
		}
		for _, r := range got {
			if r.Start < 0 || r.Length < 1 || r.Length > size-r.Start {
				t.Fatalf("%q gives %v of %d", value, r, size)
			}
		}
	})
}

const text = "0123456789abcdefghij"

func open(r Range) (exchange.Body, error) {
	return exchange.NewBytes([]byte(text[r.Start : r.Start+r.Length])), nil
}

func respond(t *testing.T, method, value string) (*exchange.Exchange, string) {
	t.Helper()
	x := &exchange.Exchange{}
	x.Request.Method = []byte(method)
	if value != "" {
		x.Request.Header.Add("Range", []byte(value))
	}
	x.Response.Status = 200
	x.Response.Header.Add("Content-Type", []byte("text/x-test"))
	if err := Respond(x, int64(len(text)), open); err != nil {
		t.Fatal(err)
	}
	if x.Response.Body == nil {
		return x, ""
	}
	body, err := io.ReadAll(x.Response.Body)
	if err != nil || int64(len(body)) != x.Response.Length {
		t.Fatalf("%d bytes of %d: %v", len(body), x.Response.Length, err)
	}
	x.End()
	return x, string(body)
}

func TestRespond(t *testing.T) {
	for _, c := range []struct {
		name, method, value string
		status              int
		contentRange, body  string
		length              int64
	}{
		{"whole", "GET", "", 200, "", text, 20},
		{"ignored", "GET", "bytes=x", 200, "", text, 20},
		{"one", "GET", "bytes=5-9", 206, "bytes 5-9/20", "56789", 5},
		{"of POST", "POST", "bytes=5-9", 200, "", text, 20},
		{"of HEAD", "HEAD", "bytes=5-9", 200, "", "", 20},
		{"unsatisfiable", "GET", "bytes=20-", 416, "bytes */20", "", 0},
	} {
		x, body := respond(t, c.method, c.value)
		r := &x.Response
		if r.Status != c.status || body != c.body || r.Length != c.length ||
			string(r.Header.Get(exchange.ContentRange)) != c.contentRange {
			t.Errorf("%s: %d %q of %d, Content-Range %q", c.name, r.Status, body, r.Length, r.Header.Get(exchange.ContentRange))
		}
	}
}

func TestRespondMultipart(t *testing.T) {
	x, body := respond(t, "GET", "bytes=0-4, -3, 7-7")
	kind, params, err := mime.ParseMediaType(string(x.Response.Header.Get(exchange.ContentType)))
	if err != nil || kind != "multipart/byteranges" || x.Response.Status != 206 || x.Response.Header.Has(exchange.ContentRange) {
		t.Fatalf("%d of type %q, %v", x.Response.Status, kind, err)
	}
	var got []string
	for parts := multipart.NewReader(strings.NewReader(body), params["boundary"]); ; {
		part, err := parts.NextPart()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(part)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, fmt.Sprint(part.Header.Get("Content-Type"), " ", part.Header.Get("Content-Range"), " ", string(content)))
	}
	want := []string{"text/x-test bytes 0-4/20 01234", "text/x-test bytes 17-19/20 hij", "text/x-test bytes 7-7/20 7"}
	if !slices.Equal(got, want) {
		t.Errorf("parts %q, want %q", got, want)
	}
}
