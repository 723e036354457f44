package validator

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"weir/l7/exchange"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func TestDate(t *testing.T) {
	for _, c := range []struct {
		text string
		want string // RFC 3339, "": no date
	}{
		{"Sun, 06 Nov 1994 08:49:37 GMT", "1994-11-06T08:49:37Z"},
		{"Sunday, 06-Nov-94 08:49:37 GMT", "1994-11-06T08:49:37Z"},
		{"Sun Nov  6 08:49:37 1994", "1994-11-06T08:49:37Z"},
		{"sun, 06 nov 1994 08:49:37 gmt", "1994-11-06T08:49:37Z"},
		{"Sun, 31 Dec 1995 23:59:60 GMT", "1996-01-01T00:00:00Z"},
		{"Sunday, 06-Nov-70 08:49:37 GMT", "2070-11-06T08:49:37Z"},
		{"Sun, 06 Nov 1994 08:49:37 EST", ""},
		{"Sun, 06 Nov 1994 08:49:37 UTC", ""},
		{"Sunday, 06-Nov-94 08:49:37 CET", ""},
		{"Sun, 31 Feb 1994 08:49:37 GMT", ""},
		{"Sun, 06 Nov 1994 24:49:37 GMT", ""},
		{"Sun, 06 Nov 1994 08:4x:37 GMT", ""},
		{"Sun, 29 Feb 2004 08:49:37 GMT", "2004-02-29T08:49:37Z"},
		{"SUNDAY, 06-NOV-94 08:49:37 gmt", "1994-11-06T08:49:37Z"},
		{"Sun,  6 Nov 1994 08:49:37 GMT", ""},
		{"Sun, 06 Nov 1994 8:49:37 GMT", ""},
		{"Sun, 06  Nov 1994 08:49:37 GMT", ""},
		{"Sun, 6 Nov 1994 08:49:37 GMT", ""},
		{"Sun Nov 06 08:49:37 1994", "1994-11-06T08:49:37Z"},
		{"Sun Nov 6 08:49:37 1994", ""},
		{"Xun, 06 Nov 1994 08:49:37 GMT", ""},
		{"Xunday, 06-Nov-94 08:49:37 GMT", ""},
		{"day Sun, 06-Nov-94 08:49:37 GMT", ""},
		{"Sun, 06-Nov-94 08:49:37 GMT", ""},
		{"Sun, 29 Feb 2005 08:49:37 GMT", ""},
		{"0", ""}, {"", ""}, {"-1", ""}, {"tomorrow", ""},
	} {
		got, ok := Date([]byte(c.text))
		if c.text == "Sunday, 06-Nov-70 08:49:37 GMT" {
			if !ok || got.After(time.Now().AddDate(50, 0, 0)) {
				t.Errorf("%q is %v, more than 50 years from now (RFC 9110, 5.6.7)", c.text, got)
			}
			continue
		}
		if ok != (c.want != "") || ok && got.Format(time.RFC3339) != c.want {
			t.Errorf("Date(%q) = %v, %v, want %q", c.text, got, ok, c.want)
		}
	}
}

func FuzzDate(f *testing.F) {
	for _, text := range []string{http.TimeFormat, time.RFC850, time.ANSIC, "Sun, 06 Nov 1994 08:49:60 GMT"} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		got, ok := Date(b)
		if !ok {
			return
		}
		again, ok := Date(AppendDate(nil, got))
		if !ok || !again.Equal(got) {
			t.Errorf("%q is %v, and as that %v", b, got, again)
		}
	})
}

func header(lines ...string) *exchange.Header {
	h := &exchange.Header{}
	for _, line := range lines {
		name, value, _ := strings.Cut(line, ": ")
		h.Add(name, []byte(value))
	}
	return h
}

func date(t time.Time) string { return string(AppendDate(nil, t)) }

func TestEvaluate(t *testing.T) {
	strong := Of{ETag: []byte(`"a"`), Modified: noon, Date: noon.Add(time.Hour)}
	weak := Of{ETag: []byte(`W/"a"`), Modified: noon, Date: noon.Add(time.Hour)}
	dated := Of{Date: noon}
	for _, c := range []struct {
		name   string
		of     Of
		origin bool
		header []string
		want   Verdict
	}{
		{"none", strong, true, nil, Proceed},
		{"If-None-Match", strong, true, []string{`If-None-Match: "a"`}, NotModified},
		{"If-None-Match weakly", strong, true, []string{`If-None-Match: W/"a"`}, NotModified},
		{"If-None-Match of a weak one", weak, false, []string{`If-None-Match: "a"`}, NotModified},
		{"If-None-Match list", strong, true, []string{`If-None-Match: "x,", W/"b" ,"a"`}, NotModified},
		{"If-None-Match lines", strong, true, []string{`If-None-Match: "x"`, `If-None-Match: "a"`}, NotModified},
		{"If-None-Match any", dated, true, []string{"If-None-Match: *"}, NotModified},
		{"If-None-Match other", strong, true, []string{`If-None-Match: "b"`}, Proceed},
		{"If-None-Match broken", strong, true, []string{`If-None-Match: a`}, Proceed},
		{"If-None-Match before date", strong, true, []string{`If-None-Match: "b"`, "If-Modified-Since: " + date(noon)}, Proceed},
		{"If-Modified-Since same", strong, true, []string{"If-Modified-Since: " + date(noon)}, NotModified},
		{"If-Modified-Since later", strong, true, []string{"If-Modified-Since: " + date(noon.Add(1e9))}, NotModified},
		{"If-Modified-Since earlier", strong, true, []string{"If-Modified-Since: " + date(noon.Add(-1e9))}, Proceed},
		{"If-Modified-Since no date", strong, true, []string{"If-Modified-Since: 7"}, Proceed},
		{"If-Modified-Since by Date", dated, false, []string{"If-Modified-Since: " + date(noon)}, NotModified},
		{"If-Match", strong, true, []string{`If-Match: "a"`}, Proceed},
		{"If-Match weak", weak, true, []string{`If-Match: W/"a"`}, Failed},
		{"If-Match other", strong, true, []string{`If-Match: "b"`}, Failed},
		{"If-Match at a cache", strong, false, []string{`If-Match: "b"`}, Proceed},
		{"If-Match, then If-None-Match", strong, true, []string{`If-Match: "a"`, `If-None-Match: "a"`}, NotModified},
		{"If-Unmodified-Since", strong, true, []string{"If-Unmodified-Since: " + date(noon)}, Proceed},
		{"If-Unmodified-Since earlier", strong, true, []string{"If-Unmodified-Since: " + date(noon.Add(-1e9))}, Failed},
		{"If-Unmodified-Since at a cache", strong, false, []string{"If-Unmodified-Since: " + date(noon.Add(-1e9))}, Proceed},
		{"If-Unmodified-Since under If-Match", strong, true, []string{`If-Match: "a"`, "If-Unmodified-Since: " + date(noon.Add(-1e9))}, Proceed},
	} {
		if got := c.of.Evaluate(header(c.header...), c.origin); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}

func TestRangeHolds(t *testing.T) {
	of := Of{ETag: []byte(`"a"`), Modified: noon, Date: noon.Add(time.Hour)}
	for _, c := range []struct {
		name    string
		of      Of
		ifRange string
		want    bool
	}{
		{"none", of, "", true},
		{"tag", of, `"a"`, true},
		{"other tag", of, `"b"`, false},
		{"weak tag", Of{ETag: []byte(`W/"a"`)}, `W/"a"`, false},
		{"date", of, date(noon), true},
		{"later date", of, date(noon.Add(1e9)), false},
		{"weak date", Of{Modified: noon, Date: noon}, date(noon), false},
		{"nonsense", of, "a", false},
		{"empty", of, " ", false},
	} {
		h := header()
		if c.ifRange != "" {
			h = header("If-Range: " + c.ifRange)
		}
		if got := c.of.RangeHolds(h); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}
