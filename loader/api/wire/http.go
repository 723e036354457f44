package wire

import (
	"net/netip"
	"time"
)

// Routes is the answer to GET /v1/http/routes.
type Routes struct {
	Routes []Route `json:"routes"`
}

// Route is one route of the HTTP tier.
type Route struct {
	Name      string   `json:"name"`
	Listeners []string `json:"listeners,omitempty"` // none: all
	Hosts     []string `json:"hosts,omitempty"`
	Path      string   `json:"path,omitempty"` // with its kind: "prefix /api"
	Methods   []string `json:"methods,omitempty"`
	Others    int      `json:"other_conditions,omitempty"` // on headers, query, cookies, sources
	Action    string   `json:"action"`
	Filters   []string `json:"filters,omitempty"` // in the order in which a request meets them
}

// RouteQuestion is the body of POST /v1/http/explain.
type RouteQuestion struct {
	Method   string     `json:"method"`
	URL      string     `json:"url"`
	Header   []string   `json:"header,omitempty"` // "NAME: VALUE"
	Source   netip.Addr `json:"source,omitzero"`
	Listener string     `json:"listener,omitempty"`
}

// RouteExplanation is what becomes of a request.
type RouteExplanation struct {
	Listener string       `json:"listener"`
	Path     string       `json:"path"` // canonical
	Route    *Route       `json:"route,omitempty"`
	Status   int          `json:"status,omitempty"` // of the refusal
	Why      string       `json:"why,omitempty"`
	Tried    []RouteTried `json:"tried"` // that fit by host and path, and all expressions
	Pools    []RoutePool  `json:"pools,omitempty"`
}

// RouteTried is a route that was looked at.
type RouteTried struct {
	Route string `json:"route"`
	Why   string `json:"why,omitempty"` // it does not fit, "": it does
}

// RoutePool is a pool that a route may use, and its backends now.
type RoutePool struct {
	Pool     string         `json:"pool"`
	Share    float64        `json:"share"` // of the route's requests
	Backends []RouteBackend `json:"backends"`
}

// RouteBackend is one backend.
type RouteBackend struct {
	Backend   netip.AddrPort `json:"backend"`
	Effective float64        `json:"effective"`
	Up        bool           `json:"up"`
}

// Certificates is the answer to GET /v1/http/certificates.
type Certificates struct {
	Certificates []Certificate `json:"certificates"`
}

// Certificate is one that listeners use.
type Certificate struct {
	Hosts     []string  `json:"hosts"`
	Source    string    `json:"source"` // file, or "acme"
	Algorithm string    `json:"algorithm"`
	Issuer    string    `json:"issuer"`
	Serial    string    `json:"serial"`
	NotBefore time.Time `json:"not_before"`
	NotAfter  time.Time `json:"not_after"`
	DaysLeft  int       `json:"days_left"`
	Expiring  bool      `json:"expiring"`
	Stapled   bool      `json:"stapled"`
	Error     string    `json:"error,omitempty"` // why newer files are not in use
}

// Caches is the answer to GET /v1/http/caches.
type Caches struct {
	Caches []Cache `json:"caches"`
}

// Cache is one store's counters since the start and sizes now.
type Cache struct {
	Name         string     `json:"name"`
	Hits         int64      `json:"hits"`
	Misses       int64      `json:"misses"`
	Collapsed    int64      `json:"collapsed"` // of the misses, those that waited for an equal one
	Stored       int64      `json:"stored"`
	Validated    int64      `json:"validated"`
	StaleOnError int64      `json:"stale_on_error"`
	Evictions    int64      `json:"evictions"`
	Purged       int64      `json:"purged"`
	Bytes        int64      `json:"bytes"` // given from what is stored
	URLs         int        `json:"urls"`
	Memory       int64      `json:"memory"` // bytes in use
	MemoryMax    int64      `json:"memory_max"`
	Disk         *CacheDisk `json:"disk,omitempty"`
}

// CacheDisk is a store's disk tier.
type CacheDisk struct {
	Files   int   `json:"files"`
	Bytes   int64 `json:"bytes"`
	Max     int64 `json:"max"`
	Hits    int64 `json:"hits"`
	Dropped int64 `json:"dropped"`
	Damaged int64 `json:"damaged"`
	Failed  int64 `json:"failed"`
}

// CacheEntries is the answer to GET /v1/http/cache.
type CacheEntries struct {
	Entries []CacheEntry `json:"entries"`
}

// CacheEntry is one stored answer.
type CacheEntry struct {
	Cache  string            `json:"cache"`
	URL    string            `json:"url"`
	Status int               `json:"status"`
	Header []string          `json:"header"`
	Length int64             `json:"length"`
	Age    float64           `json:"age_seconds"`
	TTL    float64           `json:"ttl_seconds"` // less than 0: stale since
	Vary   map[string]string `json:"vary,omitempty"`
	Tags   []string          `json:"tags,omitempty"`
}

// Purge is the body of POST /v1/http/purge: one of URL, Prefix, Tag and All.
type Purge struct {
	Cache  string `json:"cache,omitempty"` // "": all
	URL    string `json:"url,omitempty"`
	Prefix string `json:"prefix,omitempty"`
	Tag    string `json:"tag,omitempty"`
	All    bool   `json:"all,omitempty"`
}

// Purged is the answer to POST /v1/http/purge.
type Purged struct {
	URLs int `json:"urls"` // that were stored
}
