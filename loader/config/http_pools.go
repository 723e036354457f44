package config

import (
	"math"
	"slices"
	"strings"
	"time"

	"weir/loader/lb"
)

// readPoolHTTP reads how the HTTP tier uses a pool.
func readPoolHTTP(r *report, p *path, raw poolHTTP, pool lb.Pool) *lb.PoolHTTP {
	f := fields{r, p}
	out := &lb.PoolHTTP{
		Protocol:  lb.HTTPProtocol(f.oneOf("protocol", raw.Protocol, "h1", "h1", "h2", "h2c")),
		Algorithm: readHTTPAlgorithm(f, raw.Algorithm, pool.Algorithm),
		Host:      f.optionalTemplate("host", raw.Host, nil),

		ProxyProtocol: f.number("proxy_protocol", raw.ProxyProtocol, 0, 1, 2),
		ConnectWithin: f.duration("connect_timeout", raw.ConnectTimeout, 2*time.Second, 10*time.Millisecond, time.Minute),
		Connections:   readConnections(f.in("connections"), or(raw.Connections, upstreamConnections{})),
		Retries:       readRetries(f.in("retries"), or(raw.Retries, retries{})),
		Ejection:      readEjection(f.in("ejection"), or(raw.Ejection, ejection{})),
	}
	if out.Algorithm == lb.HTTPMaglev {
		out.Key = f.template("key", or(raw.Key, "{client_ip}"), nil)
	} else if raw.Key != nil {
		f.fault("key", "is for algorithm maglev only")
	}
	f.upstreamTLS(raw.TLS, out)
	q := f.in("queue")
	out.Queue = lb.Queue{
		Length: q.number("length", or(raw.Queue, queue{}).Length, 1024, 0, 1<<20),
		Within: q.duration("timeout", or(raw.Queue, queue{}).Timeout, 5*time.Second, 0, time.Hour),
	}
	if raw.Sticky != nil {
		out.Sticky = readSticky(f.in("sticky"), *raw.Sticky)
	}
	if raw.Hedge != nil {
		h := f.in("hedge")
		if raw.Hedge.After == nil {
			r.missing(h.p.key("after"), "how late an answer must be, such as 100ms")
		}
		out.Hedge.After = h.duration("after", raw.Hedge.After, 0, time.Millisecond, time.Hour)
	}
	return out
}

var httpAlgorithms = []string{
	string(lb.HTTPWeighted), string(lb.HTTPRoundRobin), string(lb.HTTPLeastConn), string(lb.HTTPRandom), string(lb.HTTPMaglev),
}

// readHTTPAlgorithm takes the pool's where that makes sense for requests:
// Maglev by flow does not.
func readHTTPAlgorithm(f fields, raw *string, of lb.Algorithm) lb.HTTPAlgorithm {
	otherwise := of.String()
	if of == lb.Maglev || !slices.Contains(httpAlgorithms, otherwise) {
		otherwise = string(lb.HTTPWeighted)
	}
	return lb.HTTPAlgorithm(f.oneOf("algorithm", raw, otherwise, httpAlgorithms...))
}

// completePool gives a pool that routes use what it needs for that.
func completePool(r *report, p *path, pool *lb.Pool) {
	if pool.HTTP == nil {
		pool.HTTP = readPoolHTTP(r, p.key("http"), poolHTTP{}, *pool)
	}
	for i, b := range pool.Backends {
		if b.Addr.IsValid() && b.Port == 0 {
			r.field(p.key("backends").item(i).key("address"), "%s needs a port, as routes of http use the pool", b.Addr)
		}
	}
}

func (f fields) upstreamTLS(raw *upstreamTLS, out *lb.PoolHTTP) {
	switch {
	case raw == nil && out.Protocol == lb.UpstreamH2:
		f.r.missing(f.p.key("tls"), "a mapping, as protocol is h2; without TLS it is h2c")
		return
	case raw == nil:
		return
	case out.Protocol == lb.UpstreamH2C:
		f.fault("tls", "is not for protocol h2c; with TLS it is h2")
	}
	t := f.in("tls")
	out.TLS = &lb.UpstreamTLS{
		Verify:     lb.TLSVerify(t.oneOf("verify", raw.Verify, string(lb.VerifyFull), string(lb.VerifyFull), string(lb.VerifyChain), string(lb.VerifyNone))),
		ServerName: or(raw.ServerName, ""), CA: t.optionalFile("ca", raw.CA),
		Cert: t.optionalFile("certificate", raw.Certificate), Key: t.optionalFile("key", raw.Key),
	}
	if (raw.Certificate == nil) != (raw.Key == nil) {
		f.fault("tls", "has one of certificate and key; they go together")
	}
	if name := out.TLS.ServerName; raw.ServerName != nil && (checkHost(strings.ToLower(name)) != nil || strings.HasPrefix(name, "*")) {
		t.fault("server_name", "%s is not a host such as www.example.org", quote(name))
	}
}

func readConnections(f fields, raw upstreamConnections) lb.UpstreamConnections {
	return lb.UpstreamConnections{
		Max:      f.number("max", raw.Max, 1024, 0, 1<<20),
		Idle:     f.number("idle", raw.Idle, 256, 0, 1<<20),
		IdleFor:  f.duration("idle_timeout", raw.IdleTimeout, time.Minute, 100*time.Millisecond, day),
		Requests: f.number("requests", raw.Requests, 0, 0, math.MaxInt32),
		Streams:  f.number("streams", raw.Streams, 100, 1, 10_000),
		Age:      f.duration("age", raw.Age, 0, 0, century),
	}
}

func readRetries(f fields, raw retries) lb.Retries {
	out := lb.Retries{
		Attempts: f.number("attempts", raw.Attempts, 1, 0, 10),
		Budget:   f.number("budget", raw.Budget, 20, 0, 100),
		Least:    f.number("least", raw.Least, 3, 0, 1000),
		Within:   f.duration("timeout", raw.Timeout, 0, 0, time.Hour),
		Body:     f.size("body", raw.Body, 64<<10, 0, 16<<20),
	}
	if raw.Status != nil {
		var err error
		if out.Status, err = lb.ParseStatusSet(*raw.Status); err != nil {
			f.fault("status", "%s is not codes in 100..599 such as 502-504", quote(*raw.Status))
		}
	}
	return out
}

// readEjection has Envoy's defaults.
func readEjection(f fields, raw ejection) lb.Ejection {
	out := lb.Ejection{
		Errors:   f.number("errors", raw.Errors, 5, 0, 10_000),
		Gateway:  f.number("gateway_errors", raw.GatewayErrors, 0, 0, 10_000),
		Interval: f.duration("interval", raw.Interval, 10*time.Second, 100*time.Millisecond, time.Hour),
		Base:     f.duration("base", raw.Base, 30*time.Second, 100*time.Millisecond, day),
		Longest:  f.duration("longest", raw.Longest, 300*time.Second, 100*time.Millisecond, day),
		Percent:  f.number("percent", raw.Percent, 10, 0, 100),
	}
	s, rate := f.in("success_rate"), or(raw.SuccessRate, successRate{})
	out.Rate = lb.SuccessRate{
		Hosts:    s.number("hosts", rate.Hosts, 5, 0, 65535),
		Requests: s.number("requests", rate.Requests, 100, 1, math.MaxInt32),
		Factor:   s.number("factor", rate.Factor, 1900, 1, 100_000),
	}
	if out.Longest < out.Base {
		f.fault("longest", "%s is less than base (%s)", out.Longest, out.Base)
	}
	return out
}

func readSticky(f fields, raw sticky) lb.Sticky {
	out := lb.Sticky{
		Cookie: raw.Cookie, KeyFile: f.file("key_file", raw.KeyFile), TTL: f.duration("ttl", raw.TTL, 0, 0, century),
		Path: or(raw.Path, "/"), Secure: or(raw.Secure, false),
	}
	if raw.Cookie == "" {
		f.r.missing(f.p.key("cookie"), "the name of a cookie")
	} else if !isToken(raw.Cookie) {
		f.fault("cookie", "%s is not a name of %s", quote(raw.Cookie), tokenChars)
	}
	if err := checkPath(out.Path); err != nil {
		f.fault("path", "%s %s", quote(out.Path), err)
	}
	return out
}
