package config

import (
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strings"
	"time"

	"weir/loader/lb"
)

func (h *httpReader) readListeners(listed []listener, all lb.HTTP) []lb.Listener {
	if len(listed) == 0 {
		h.r.missing(h.p.key("listeners"), "a list of at least one listener")
	}
	names := uniqueNames{}
	taken := map[netip.AddrPort]*path{}
	var out []lb.Listener
	for i, raw := range listed {
		f := fields{h.r, h.p.key("listeners").item(i)}
		names.check(h.r, f.p, raw.Name)
		h.listeners[raw.Name] = true
		l := lb.Listener{
			Name: raw.Name, HTTP3: raw.HTTP3, Connect: raw.Connect,
			Addresses: f.addresses(raw.Addresses, taken),
			Proxy:     f.prefixes("proxy_protocol", raw.ProxyProtocol),
			Trusted:   slices.Concat(h.trusted, f.prefixes("trusted_proxies", raw.TrustedProxies)),
			Limits:    readListenerLimits(f.in("limits"), or(raw.Limits, listenerLimits{})),
			Timeouts:  readListenerTimeouts(f.in("timeouts"), or(raw.Timeouts, listenerTimeouts{})),
		}
		protocols := f.someOf("protocols", raw.Protocols, []string{"h1", "h2"}, "h1", "h2")
		l.Protocols = lb.HTTPProtocols{H1: slices.Contains(protocols, "h1"), H2: slices.Contains(protocols, "h2")}
		if raw.TLS != nil {
			l.TLS = h.listenerTLS(f.in("tls"), *raw.TLS, all)
		} else if raw.HTTP3 {
			f.fault("http3", "needs tls")
		}
		out = append(out, l)
	}
	return out
}

// addresses reads ADDRESS:PORT and, for all addresses of this host, :PORT.
func (f fields) addresses(raw []string, taken map[netip.AddrPort]*path) []netip.AddrPort {
	if len(raw) == 0 {
		f.r.missing(f.p.key("addresses"), `a list of ADDRESS:PORT, or ":PORT" for all addresses of this host`)
	}
	var out []netip.AddrPort
	for i, text := range raw {
		item := f.p.key("addresses").item(i)
		if f.r.known(item) {
			continue
		}
		full := text
		if strings.HasPrefix(text, ":") {
			full = "[::]" + text
		}
		a, err := netip.ParseAddrPort(full)
		switch {
		case err != nil || a.Port() == 0 || a.Addr().Is4In6() || a.Addr().IsMulticast():
			f.r.field(item, "%s is not ADDRESS:PORT or :PORT, such as 192.0.2.1:443 or :80", quote(text))
		case taken[a] != nil:
			f.r.field(item, "%s is already at %s", quote(text), taken[a])
		default:
			taken[a] = item
			out = append(out, a)
		}
	}
	return out
}

func readListenerLimits(f fields, raw listenerLimits) lb.ListenerLimits {
	return lb.ListenerLimits{
		Connections:    f.number("connections", raw.Connections, 0, 0, math.MaxInt32),
		PerClient:      f.number("connections_per_client", raw.ConnectionsPerClient, 0, 0, math.MaxInt32),
		HeaderBytes:    int(f.size("header", raw.Header, 32<<10, 1<<10, 1<<20)),
		HeaderFields:   f.number("header_fields", raw.HeaderFields, 100, 1, 10_000),
		BufferedHeader: int(f.size("response_header", raw.ResponseHeader, 64<<10, 1<<10, 1<<20)),
		BodyBytes:      f.size("body", raw.Body, 0, 0, anySize),
		Requests:       f.number("requests", raw.Requests, 0, 0, math.MaxInt32),
		Streams:        f.number("streams", raw.Streams, 100, 1, 10_000),
	}
}

func readListenerTimeouts(f fields, raw listenerTimeouts) lb.ListenerTimeouts {
	return lb.ListenerTimeouts{
		Handshake: f.duration("handshake", raw.Handshake, 10*time.Second, 100*time.Millisecond, time.Hour),
		Header:    f.duration("header", raw.Header, 10*time.Second, 100*time.Millisecond, time.Hour),
		Body:      f.duration("body", raw.Body, 30*time.Second, 100*time.Millisecond, day),
		Write:     f.duration("write", raw.Write, 30*time.Second, 100*time.Millisecond, day),
		Idle:      f.duration("idle", raw.Idle, 75*time.Second, time.Second, day),
		Drain:     f.duration("drain", raw.Drain, 30*time.Second, 0, day),
	}
}

func (h *httpReader) listenerTLS(f fields, raw listenerTLS, all lb.HTTP) *lb.ListenerTLS {
	out := &lb.ListenerTLS{
		MinVersion:   tlsVersion(f.oneOf("min_version", raw.MinVersion, "1.2", "1.2", "1.3")),
		Certificates: raw.Certificates,
		RefuseSNI:    f.oneOf("unknown_name", raw.UnknownName, "refuse", "refuse", "first") == "refuse",
		TicketFile:   f.optionalFile("ticket_file", raw.TicketFile),
		Stapling:     or(raw.Stapling, true),
	}
	for i, name := range raw.Certificates {
		item := f.p.key("certificates").item(i)
		if !h.r.known(item) && !h.certs[name] && !h.r.known(h.p.key("certificates")) {
			h.r.field(item, "there is no certificate %s", quote(name))
		}
	}
	if raw.Certificates == nil {
		for _, c := range all.Certificates {
			out.Certificates = append(out.Certificates, c.Name)
		}
	}
	if len(out.Certificates) == 0 && len(all.ACME.Hosts) == 0 {
		h.r.missing(f.p.key("certificates"), "needed, as http has neither certificates nor acme")
	}
	for i, c := range raw.Clients {
		item := fields{h.r, f.p.key("clients").item(i)}
		if len(c.Hosts) == 0 {
			h.r.missing(item.p.key("hosts"), "a list of at least one host name")
		}
		out.Clients = append(out.Clients, lb.ClientCA{
			Hosts: item.hosts("hosts", c.Hosts), CA: item.file("ca", c.CA), Required: or(c.Required, true),
		})
	}
	return out
}

// hosts reads names that are matched by.
func (f fields) hosts(key string, raw []string) []string {
	out := make([]string, 0, len(raw))
	for i, text := range raw {
		item := f.p.key(key).item(i)
		if f.r.known(item) {
			continue
		}
		host := strings.ToLower(text)
		if err := checkHost(host); err != nil {
			f.r.field(item, "%s %s", quote(text), err)
			continue
		}
		if slices.Contains(out, host) {
			f.r.field(item, "%s is there already", quote(text))
			continue
		}
		out = append(out, host)
	}
	return out
}

// checkHost says why a host cannot be matched. Its errors continue a sentence
// that begins with the host.
func checkHost(host string) error {
	name, wildcard := strings.CutPrefix(host, "*.")
	if addr, err := netip.ParseAddr(strings.Trim(name, "[]")); err == nil && !wildcard {
		if addr.Is6() != strings.HasPrefix(name, "[") || addr.Zone() != "" {
			return fmt.Errorf("is an IPv6 address without brackets or with a zone")
		}
		return nil
	}
	for _, c := range []byte(name) {
		letter := c >= 'a' && c <= 'z' || c >= '0' && c <= '9'
		if !letter && c != '-' && c != '.' && c != '_' {
			return fmt.Errorf("is not a host such as www.example.org or *.example.org, without port, in ASCII (xn--…)")
		}
	}
	if name == "" || strings.HasSuffix(name, ".") || !isDNSName(name) {
		return fmt.Errorf("is not a host such as www.example.org or *.example.org, without a last dot")
	}
	return nil
}
