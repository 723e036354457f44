package config

import (
	"crypto/tls"
	"math"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"weir/loader/lb"
)

// Bounds that several keys have.
const (
	day     = 24 * time.Hour
	century = 100 * 365 * day
	anySize = math.MaxInt64
)

// httpReader reads the HTTP tier's part of the file.
type httpReader struct {
	fields
	pools     map[string]int // index
	allNamed  bool           // every pool has a usable name
	listeners map[string]bool
	certs     map[string]bool
	caches    map[string]bool
	trusted   []netip.Prefix
}

// readHTTP reads the tier and completes the pools that its routes use.
func readHTTP(r *report, raw *httpTier, pools []lb.Pool) lb.HTTP {
	if raw == nil {
		return lb.HTTP{}
	}
	h := &httpReader{
		fields: fields{r, top.key("http")}, pools: map[string]int{}, allNamed: !r.faulty["pools"],
		listeners: map[string]bool{}, certs: map[string]bool{}, caches: map[string]bool{},
	}
	for i, p := range pools {
		h.allNamed = h.allNamed && !r.known(top.key("pools").item(i).key("name"))
		h.pools[p.Name] = i
	}
	h.trusted = h.prefixes("trusted_proxies", raw.TrustedProxies)
	var out lb.HTTP
	out.Certificates = h.certificates(raw.Certificates)
	out.ACME = h.acme(raw.ACME)
	out.Listeners = h.readListeners(raw.Listeners, out)
	out.Caches = h.stores(raw.Caches)
	out.Routes = h.routes(raw.Routes)
	out.AccessLogs = h.accessLogs(raw.AccessLog)
	out.Tracing = h.tracing(raw.Tracing)
	for _, name := range out.Pools() {
		if i, known := h.pools[name]; known {
			completePool(r, top.key("pools").item(i), &pools[i])
		}
	}
	return out
}

func (h *httpReader) certificates(listed []certificate) []lb.Certificate {
	names := uniqueNames{}
	var out []lb.Certificate
	for i, raw := range listed {
		f := fields{h.r, h.p.key("certificates").item(i)}
		names.check(h.r, f.p, raw.Name)
		out = append(out, lb.Certificate{Name: raw.Name, Cert: f.file("certificate", raw.Certificate), Key: f.file("key", raw.Key)})
		h.certs[raw.Name] = true
	}
	return out
}

func (h *httpReader) acme(raw *acme) lb.ACME {
	if raw == nil {
		return lb.ACME{}
	}
	f := h.in("acme")
	if len(raw.Hosts) == 0 {
		h.r.missing(f.p.key("hosts"), "a list of at least one host name")
	}
	challenges := f.someOf("challenges", raw.Challenges, []string{"http-01", "tls-alpn-01"}, "http-01", "tls-alpn-01")
	out := lb.ACME{
		Hosts: f.hosts("hosts", raw.Hosts), Email: or(raw.Email, ""),
		Directory: or(raw.Directory, "https://acme-v02.api.letsencrypt.org/directory"),
		Storage:   or(raw.Storage, "/var/lib/weir/acme"), CA: f.optionalFile("ca", raw.CA),
		HTTP01: slices.Contains(challenges, "http-01"), TLSALPN01: slices.Contains(challenges, "tls-alpn-01"),
	}
	f.url("directory", out.Directory)
	f.file("storage", out.Storage)
	if out.Email != "" && !strings.Contains(out.Email, "@") {
		f.fault("email", "%s is not an e-mail address", quote(out.Email))
	}
	for i, host := range out.Hosts {
		if strings.HasPrefix(host, "*") {
			h.r.field(f.p.key("hosts").item(i), "%s: a wildcard needs a DNS challenge, which weir does not do", quote(host))
		}
	}
	return out
}

// url reports what is not an absolute http or https URL.
func (f fields) url(key, text string) {
	if text == "" {
		f.r.missing(f.p.key(key), "a URL such as https://example.org/path")
		return
	}
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.Fragment != "" {
		f.fault(key, "%s is not a URL such as https://example.org/path", quote(text))
	}
}

func (h *httpReader) stores(listed []cacheStore) []lb.Cache {
	names := uniqueNames{}
	var out []lb.Cache
	for i, raw := range listed {
		f := fields{h.r, h.p.key("caches").item(i)}
		names.check(h.r, f.p, raw.Name)
		c := lb.Cache{Name: raw.Name, Memory: f.size("memory", raw.Memory, 64<<20, 1<<20, 1<<44)}
		c.MaxObject = f.size("max_object", raw.MaxObject, min(16<<20, c.Memory/4), 1<<10, 1<<31)
		if raw.Disk != nil {
			d := f.in("disk")
			c.DiskPath = d.file("path", raw.Disk.Path)
			c.DiskBytes = d.size("size", raw.Disk.Size, 10<<30, 16<<20, 1<<50)
		}
		if c.MaxObject > c.Memory/4 {
			f.fault("max_object", "%s is more than a quarter of memory (%s)", writeSize(c.MaxObject), writeSize(c.Memory))
		}
		out = append(out, c)
		h.caches[raw.Name] = true
	}
	return out
}

func (h *httpReader) accessLogs(listed []accessLog) []lb.AccessLog {
	var out []lb.AccessLog
	for i, raw := range listed {
		f := fields{h.r, h.p.key("access_log").item(i)}
		if raw.File != "stdout" && raw.File != "stderr" {
			f.file("file", raw.File)
		}
		l := lb.AccessLog{
			File:     raw.File,
			Format:   lb.LogFormat(f.oneOf("format", raw.Format, string(lb.LogJSON), string(lb.LogJSON), string(lb.LogCombined), string(lb.LogTemplate))),
			Template: f.optionalTemplate("template", raw.Template, nil),
			Sample:   f.number("sample", raw.Sample, 1, 1, math.MaxInt32),
			Queue:    f.number("queue", raw.Queue, 8192, 16, 1<<20),
		}
		if is := l.Format == lb.LogTemplate; is && raw.Template == nil {
			h.r.missing(f.p.key("template"), "what is logged, as format is template")
		} else if !is && raw.Template != nil {
			f.fault("template", "is for format template only")
		}
		out = append(out, l)
	}
	return out
}

func (h *httpReader) tracing(raw *tracing) lb.Tracing {
	if raw == nil {
		return lb.Tracing{}
	}
	f := h.in("tracing")
	f.url("endpoint", raw.Endpoint)
	return lb.Tracing{
		Endpoint: raw.Endpoint, Service: or(raw.Service, "weir"),
		Sample:  f.number("sample", raw.Sample, 100, 1, math.MaxInt32),
		Headers: f.headerValues("headers", raw.Headers, nil),
		Timeout: f.duration("timeout", raw.Timeout, 10*time.Second, 100*time.Millisecond, time.Minute),
		Queue:   f.number("queue", raw.Queue, 4096, 16, 1<<20),
	}
}

// headerValues reads what fields are set to.
func (f fields) headerValues(key string, listed []headerValue, captures []string) []lb.HeaderValue {
	var out []lb.HeaderValue
	for i, raw := range listed {
		item := fields{f.r, f.p.key(key).item(i)}
		if f.r.known(item.p) {
			continue
		}
		if raw.Name == "" {
			f.r.missing(item.p.key("name"), "a name")
		} else if !isToken(raw.Name) {
			item.fault("name", "%s is not a name of %s", quote(raw.Name), tokenChars)
		}
		out = append(out, lb.HeaderValue{Name: raw.Name, Value: item.template("value", raw.Value, captures)})
	}
	return out
}

func tlsVersion(text string) uint16 {
	if text == "1.3" {
		return tls.VersionTLS13
	}
	return tls.VersionTLS12
}
