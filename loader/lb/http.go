package lb

import (
	"net/netip"
	"time"
)

// HTTP is the configuration of the HTTP tier, checked and with defaults filled
// in. Without listeners there is no tier. Values are never changed once they
// are in use.
type HTTP struct {
	Listeners    []Listener
	Certificates []Certificate
	ACME         ACME
	Caches       []Cache
	Routes       []Route // in the file's order
	AccessLogs   []AccessLog
	Tracing      Tracing
}

// Enabled reports whether there is a tier at all.
func (h HTTP) Enabled() bool { return len(h.Listeners) > 0 }

// Pools are the names of the pools that routes use, each once, in the routes'
// order.
func (h HTTP) Pools() []string {
	var names []string
	seen := map[string]bool{"": true}
	for _, r := range h.Routes {
		for _, t := range append(r.Split[:len(r.Split):len(r.Split)], Target{Pool: r.Mirror.Pool}) {
			if !seen[t.Pool] {
				seen[t.Pool] = true
				names = append(names, t.Pool)
			}
		}
	}
	return names
}

// Listener is a set of addresses that speak HTTP alike.
type Listener struct {
	Name      string
	Addresses []netip.AddrPort // an unspecified address: all of this host's
	TLS       *ListenerTLS     // nil: plain
	HTTP3     bool
	Protocols HTTPProtocols
	Proxy     []netip.Prefix // peers that must begin with a PROXY header; others must not
	Trusted   []netip.Prefix // peers whose X-Forwarded-* and Forwarded are believed
	Connect   bool           // CONNECT reaches routes
	Limits    ListenerLimits
	Timeouts  ListenerTimeouts
}

// HTTPProtocols is a set of protocols spoken over TCP.
type HTTPProtocols struct{ H1, H2 bool }

// ListenerLimits bound what clients may send.
type ListenerLimits struct {
	Connections    int   // at once, 0: as many as come
	HeaderBytes    int   // request line and fields
	HeaderFields   int   //
	Requests       int   // of one connection, 0: as many as come
	Streams        int   // of one HTTP/2 or 3 connection at once
	BodyBytes      int64 // of routes that say nothing, 0: any
	PerClient      int   // connections of one address at once, 0: as many as come
	BufferedHeader int   // bytes of a backend's response header
}

// ListenerTimeouts bound how long clients may take.
type ListenerTimeouts struct {
	Handshake time.Duration // PROXY header and TLS
	Header    time.Duration // from the first byte of a request to its last field
	Body      time.Duration // between two reads of a request's body
	Write     time.Duration // for a client to take what it is sent, between two writes
	Idle      time.Duration // between requests
	Drain     time.Duration // for connections to end when the daemon stops
}

// ListenerTLS is how a listener does TLS.
type ListenerTLS struct {
	MinVersion   uint16     // as in crypto/tls
	Certificates []string   // names; the first serves clients without SNI; ACME's besides
	RefuseSNI    bool       // no certificate for a name: refuse, instead of sending the first
	Clients      []ClientCA // by host
	TicketFile   string     // keys of session tickets that nodes share; empty: this node's own
	Stapling     bool
}

// ClientCA says that clients of some hosts show certificates.
type ClientCA struct {
	Hosts    []string // names, or "*.example.org" for one label
	CA       string   // file of PEM certificates
	Required bool
}

// Certificate is a file pair that is watched.
type Certificate struct {
	Name string
	Cert string // files, absolute
	Key  string
}

// ACME says which certificates are had from an ACME server. Without hosts it is
// off.
type ACME struct {
	Hosts     []string
	Email     string
	Directory string // URL
	Storage   string // directory
	CA        string // PEM file that the server is verified by; empty: the system's
	HTTP01    bool
	TLSALPN01 bool
}

// Cache is a store that routes share.
type Cache struct {
	Name      string
	Memory    int64  // bytes
	MaxObject int64  // bytes; larger ones are not stored
	DiskPath  string // empty: no disk tier
	DiskBytes int64
}

// LogFormat is how access is logged.
type LogFormat string

// Formats of access logs.
const (
	LogJSON     LogFormat = "json"
	LogCombined LogFormat = "combined"
	LogTemplate LogFormat = "template"
)

// AccessLog is one destination of access logs.
type AccessLog struct {
	File     string // absolute, or "stdout" or "stderr"
	Format   LogFormat
	Template Template // for LogTemplate
	Sample   int      // one in this many requests; answers of 500 and above always
	Queue    int      // entries that wait at most; more are dropped and counted
}

// Tracing is where spans go. Without an endpoint trace context is passed on as
// it came.
type Tracing struct {
	Endpoint string // URL of OTLP over HTTP
	Service  string
	Sample   int // one in this many requests without a context of their own
	Headers  []HeaderValue
	Timeout  time.Duration
	Queue    int // spans that wait at most
}
