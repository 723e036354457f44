package value

import (
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"net/netip"
	"strconv"
	"time"

	"weir/l7/exchange"
	"weir/l7/route"
)

type appender = func([]byte, *exchange.Exchange) []byte

// variable is nil for names that are none.
func variable(name, arg string) appender {
	if arg != "" {
		return argument(name, arg)
	}
	for _, all := range []map[string]appender{ofRequest, ofConnection, ofOutcome} {
		if f := all[name]; f != nil {
			return f
		}
	}
	return nil
}

func argument(name, arg string) appender {
	switch name {
	case "header":
		return func(b []byte, x *exchange.Exchange) []byte { return append(b, x.Request.Header.GetText(arg)...) }
	case "response_header":
		return func(b []byte, x *exchange.Exchange) []byte { return append(b, x.Response.Header.GetText(arg)...) }
	case "query":
		return func(b []byte, x *exchange.Exchange) []byte {
			v, _, _ := route.NextParameter(x.Request.Query, arg)
			return append(b, v...)
		}
	case "cookie":
		return func(b []byte, x *exchange.Exchange) []byte { return append(b, cookie(&x.Request.Header, arg)...) }
	}
	return nil
}

func cookie(h *exchange.Header, name string) []byte {
	for _, f := range h.Fields() {
		if f.ID != exchange.Cookie {
			continue
		}
		if v, _, found := route.NextCookie(f.Value, name); found {
			return v
		}
	}
	return nil
}

// The variables; nobody changes the maps.
var (
	ofRequest = map[string]appender{
		"scheme":   func(b []byte, x *exchange.Exchange) []byte { return append(b, Scheme(x)...) },
		"protocol": func(b []byte, x *exchange.Exchange) []byte { return append(b, x.Request.Protocol.String()...) },
		"method":   func(b []byte, x *exchange.Exchange) []byte { return append(b, x.Request.Method...) },
		"host":     func(b []byte, x *exchange.Exchange) []byte { return append(b, x.Request.Authority...) },
		"hostname": func(b []byte, x *exchange.Exchange) []byte { return append(b, Hostname(x)...) },
		"port":     port,
		"target":   func(b []byte, x *exchange.Exchange) []byte { return append(b, x.Request.Target...) },
		"path":     func(b []byte, x *exchange.Exchange) []byte { return append(b, x.Request.Path...) },
		"query":    func(b []byte, x *exchange.Exchange) []byte { return append(b, x.Request.Query...) },
		"uri":      uri,

		"client_ip":  func(b []byte, x *exchange.Exchange) []byte { return x.Source.AppendTo(b) },
		"request_id": func(b []byte, x *exchange.Exchange) []byte { return append(b, x.ID...) },
		"route":      func(b []byte, x *exchange.Exchange) []byte { return append(b, x.Route...) },
		"trace_id":   traceID,
		"time": func(b []byte, _ *exchange.Exchange) []byte {
			return time.Now().UTC().AppendFormat(b, "2006-01-02T15:04:05.000Z")
		},
		"time_clf": func(b []byte, _ *exchange.Exchange) []byte {
			return time.Now().UTC().AppendFormat(b, "02/Jan/2006:15:04:05 -0700")
		},
	}
	ofConnection = map[string]appender{
		"client_port":        func(b []byte, x *exchange.Exchange) []byte { return appendPort(b, x.Client.Remote) },
		"connection_ip":      func(b []byte, x *exchange.Exchange) []byte { return x.Client.Remote.Addr().Unmap().AppendTo(b) },
		"listener":           func(b []byte, x *exchange.Exchange) []byte { return append(b, x.Client.Listener...) },
		"local_ip":           func(b []byte, x *exchange.Exchange) []byte { return x.Client.Local.Addr().Unmap().AppendTo(b) },
		"local_port":         func(b []byte, x *exchange.Exchange) []byte { return appendPort(b, x.Client.Local) },
		"tls_version":        ofTLS(func(b []byte, s *tls.ConnectionState) []byte { return append(b, tls.VersionName(s.Version)...) }),
		"tls_cipher":         ofTLS(func(b []byte, s *tls.ConnectionState) []byte { return append(b, tls.CipherSuiteName(s.CipherSuite)...) }),
		"tls_sni":            ofTLS(func(b []byte, s *tls.ConnectionState) []byte { return append(b, s.ServerName...) }),
		"client_subject":     ofTLS(subject),
		"client_fingerprint": ofTLS(fingerprint),
	}
	ofOutcome = map[string]appender{
		"status":   func(b []byte, x *exchange.Exchange) []byte { return strconv.AppendInt(b, int64(x.Response.Status), 10) },
		"pool":     func(b []byte, x *exchange.Exchange) []byte { return append(b, x.Pool...) },
		"backend":  backend,
		"attempts": func(b []byte, x *exchange.Exchange) []byte { return strconv.AppendInt(b, int64(x.Attempts), 10) },
		"cache":    func(b []byte, x *exchange.Exchange) []byte { return append(b, x.Cache...) },
		"failure":  func(b []byte, x *exchange.Exchange) []byte { return append(b, x.Failure...) },
		"sent":     func(b []byte, x *exchange.Exchange) []byte { return strconv.AppendInt(b, x.Sent, 10) },
		"received": func(b []byte, x *exchange.Exchange) []byte { return strconv.AppendInt(b, x.Received, 10) },
		"duration": func(b []byte, x *exchange.Exchange) []byte {
			return strconv.AppendFloat(b, time.Since(x.Began).Seconds(), 'f', 6, 64)
		},
		"duration_us": func(b []byte, x *exchange.Exchange) []byte {
			return strconv.AppendInt(b, time.Since(x.Began).Microseconds(), 10)
		},
	}
)

// Scheme is https or http.
func Scheme(x *exchange.Exchange) string {
	if x.Client.TLS != nil {
		return "https"
	}
	return "http"
}

// Hostname is the host that is asked for, without port and last dot.
func Hostname(x *exchange.Exchange) []byte { return route.Hostname(x.Request.Authority) }

func port(b []byte, x *exchange.Exchange) []byte {
	host := x.Request.Authority
	if i := bytes.LastIndexByte(host, ':'); i >= 0 && host[len(host)-1] != ']' {
		return append(b, host[i+1:]...)
	}
	return b
}

func uri(b []byte, x *exchange.Exchange) []byte {
	b = append(b, x.Request.Path...)
	if len(x.Request.Query) > 0 {
		b = append(append(b, '?'), x.Request.Query...)
	}
	return b
}

// traceID is that of a traceparent (W3C Trace Context, 3.2).
func traceID(b []byte, x *exchange.Exchange) []byte {
	if v := x.Request.Header.Get(exchange.Traceparent); len(v) >= 55 {
		b = append(b, v[3:35]...)
	}
	return b
}

func appendPort(b []byte, a netip.AddrPort) []byte {
	return strconv.AppendUint(b, uint64(a.Port()), 10)
}

func backend(b []byte, x *exchange.Exchange) []byte {
	if x.Backend.IsValid() {
		return x.Backend.AppendTo(b)
	}
	return b
}

func ofTLS(f func([]byte, *tls.ConnectionState) []byte) appender {
	return func(b []byte, x *exchange.Exchange) []byte {
		if x.Client.TLS == nil {
			return b
		}
		return f(b, x.Client.TLS)
	}
}

// subject is that of the client's certificate, without what a header field
// cannot hold.
func subject(b []byte, s *tls.ConnectionState) []byte {
	if len(s.PeerCertificates) == 0 {
		return b
	}
	for _, c := range []byte(s.PeerCertificates[0].Subject.String()) {
		if c < ' ' || c == 0x7f {
			c = '?'
		}
		b = append(b, c)
	}
	return b
}

func fingerprint(b []byte, s *tls.ConnectionState) []byte {
	if len(s.PeerCertificates) == 0 {
		return b
	}
	sum := sha256.Sum256(s.PeerCertificates[0].Raw)
	return hex.AppendEncode(b, sum[:])
}
