package accesslog

import (
	"net/http"
	"strconv"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"weir/l7/exchange"
	"weir/l7/value"
	"weir/loader/lb"
)

// Options say what a Log writes.
type Options struct {
	Format   lb.LogFormat
	Template value.Text // for lb.LogTemplate
	Sample   int        // one in this many; 0 and 1: all. Answers of 500 and above always
}

// Log is a format and the sink that it goes to. Add may be called from any
// goroutine.
type Log struct {
	options Options
	sink    *Sink
	count   atomic.Uint64
}

// New makes a log of a sink, which stays the caller's.
func New(o Options, s *Sink) *Log { return &Log{options: o, sink: s} }

// Add logs an exchange that has ended.
func (l *Log) Add(x *exchange.Exchange) {
	if n := l.count.Add(1); l.options.Sample > 1 && n%uint64(l.options.Sample) != 0 && x.Response.Status < http.StatusInternalServerError {
		return
	}
	line := l.sink.take()
	switch l.options.Format {
	case lb.LogCombined:
		line.text = appendCombined(line.text, x)
	case lb.LogTemplate:
		line.text = l.options.Template.Append(line.text, x)
	default:
		line.text = appendJSON(line.text, x)
	}
	line.text = append(line.text, '\n')
	l.sink.put(line)
}

// appendCombined writes what Apache calls the combined log format.
func appendCombined(b []byte, x *exchange.Exchange) []byte {
	b = x.Source.AppendTo(b)
	b = append(b, " - - ["...)
	b = x.Began.UTC().AppendFormat(b, "02/Jan/2006:15:04:05 -0700")
	b = append(b, `] "`...)
	b = appendPlain(b, x.Request.Method)
	b = append(b, ' ')
	b = appendPlain(b, x.Request.Target)
	b = append(b, ' ')
	b = append(b, x.Request.Protocol.String()...)
	b = append(b, `" `...)
	b = strconv.AppendInt(b, int64(x.Response.Status), 10)
	b = append(b, ' ')
	b = strconv.AppendInt(b, x.Sent, 10)
	for _, name := range []exchange.Name{exchange.Referer, exchange.UserAgent} {
		b = append(b, ` "`...)
		if v := x.Request.Header.Get(name); v == nil {
			b = append(b, '-')
		} else {
			b = appendPlain(b, v)
		}
		b = append(b, '"')
	}
	return b
}

// appendPlain escapes what could end a quoted part or a line.
func appendPlain(b, text []byte) []byte {
	for _, c := range text {
		if c < ' ' || c >= 0x7f || c == '"' || c == '\\' {
			b = append(b, '\\', 'x', hexDigits[c>>4], hexDigits[c&15])
		} else {
			b = append(b, c)
		}
	}
	return b
}

const hexDigits = "0123456789abcdef"

// appendJSON writes one object. Fields that an exchange does not have are left
// out.
func appendJSON(b []byte, x *exchange.Exchange) []byte {
	b = append(b, `{"time":"`...)
	b = x.Began.UTC().AppendFormat(b, "2006-01-02T15:04:05.000000Z")
	b = append(b, `","client":"`...)
	b = x.Source.AppendTo(b)
	b = append(b, '"')
	b = text(b, "listener", x.Client.Listener)
	b = text(b, "method", x.Request.Method)
	b = text(b, "scheme", value.Scheme(x))
	b = text(b, "host", x.Request.Authority)
	b = text(b, "target", x.Request.Target)
	b = text(b, "protocol", x.Request.Protocol.String())
	b = number(b, "status", int64(x.Response.Status))
	b = number(b, "sent", x.Sent)
	b = number(b, "received", x.Received)
	b = number(b, "duration_us", time.Since(x.Began).Microseconds())
	b = text(b, "route", x.Route)
	b = text(b, "pool", x.Pool)
	if x.Backend.IsValid() {
		b = append(x.Backend.AppendTo(append(b, `,"backend":"`...)), '"')
	}
	if x.Attempts > 1 {
		b = number(b, "attempts", int64(x.Attempts))
	}
	b = text(b, "cache", x.Cache)
	b = text(b, "failure", x.Failure)
	if x.Cut != nil {
		b = text(b, "cut", x.Cut.Error())
	}
	b = text(b, "request_id", x.ID)
	b = text(b, "referer", x.Request.Header.Get(exchange.Referer))
	b = text(b, "user_agent", x.Request.Header.Get(exchange.UserAgent))
	return append(b, '}')
}

func number(b []byte, key string, n int64) []byte {
	b = append(append(append(b, `,"`...), key...), `":`...)
	return strconv.AppendInt(b, n, 10)
}

// text leaves out what is empty.
func text[T string | []byte](b []byte, key string, v T) []byte {
	if len(v) == 0 {
		return b
	}
	b = append(append(append(b, `,"`...), key...), `":"`...)
	return append(appendString(b, v), '"')
}

// appendString escapes as RFC 8259, 7 wants it. Bytes that are no UTF-8 become
// U+FFFD.
func appendString[T string | []byte](b []byte, v T) []byte {
	for i := 0; i < len(v); {
		c := v[i]
		switch {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		case c < ' ' || c == 0x7f:
			b = append(b, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
		case c < utf8.RuneSelf:
			b = append(b, c)
		default:
			r, n := utf8.DecodeRuneInString(string(v[i:min(len(v), i+utf8.UTFMax)]))
			b = utf8.AppendRune(b, r)
			i += n
			continue
		}
		i++
	}
	return b
}
