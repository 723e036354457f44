package config

import "time"

// The shapes of the HTTP tier's part of the file; see file.

type httpTier struct {
	Listeners      []listener    `mapstructure:"listeners"`
	TrustedProxies []string      `mapstructure:"trusted_proxies"`
	Certificates   []certificate `mapstructure:"certificates"`
	ACME           *acme         `mapstructure:"acme"`
	Caches         []cacheStore  `mapstructure:"caches"`
	Routes         []route       `mapstructure:"routes"`
	AccessLog      []accessLog   `mapstructure:"access_log"`
	Tracing        *tracing      `mapstructure:"tracing"`
}

type listener struct {
	Name           string            `mapstructure:"name"`
	Addresses      []string          `mapstructure:"addresses"`
	TLS            *listenerTLS      `mapstructure:"tls"`
	Protocols      []string          `mapstructure:"protocols"`
	HTTP3          bool              `mapstructure:"http3"`
	ProxyProtocol  []string          `mapstructure:"proxy_protocol"`
	TrustedProxies []string          `mapstructure:"trusted_proxies"`
	Connect        bool              `mapstructure:"connect"`
	Limits         *listenerLimits   `mapstructure:"limits"`
	Timeouts       *listenerTimeouts `mapstructure:"timeouts"`
}

type listenerLimits struct {
	Connections          *int64 `mapstructure:"connections"`
	ConnectionsPerClient *int64 `mapstructure:"connections_per_client"`
	Header               *size  `mapstructure:"header"`
	HeaderFields         *int64 `mapstructure:"header_fields"`
	ResponseHeader       *size  `mapstructure:"response_header"`
	Body                 *size  `mapstructure:"body"`
	Requests             *int64 `mapstructure:"requests"`
	Streams              *int64 `mapstructure:"streams"`
}

type listenerTimeouts struct {
	Handshake *time.Duration `mapstructure:"handshake"`
	Header    *time.Duration `mapstructure:"header"`
	Body      *time.Duration `mapstructure:"body"`
	Write     *time.Duration `mapstructure:"write"`
	Idle      *time.Duration `mapstructure:"idle"`
	Drain     *time.Duration `mapstructure:"drain"`
}

type listenerTLS struct {
	Certificates []string   `mapstructure:"certificates"`
	MinVersion   *string    `mapstructure:"min_version"`
	UnknownName  *string    `mapstructure:"unknown_name"`
	Clients      []clientCA `mapstructure:"clients"`
	TicketFile   *string    `mapstructure:"ticket_file"`
	Stapling     *bool      `mapstructure:"stapling"`
}

type clientCA struct {
	Hosts    []string `mapstructure:"hosts"`
	CA       string   `mapstructure:"ca"`
	Required *bool    `mapstructure:"required"`
}

type certificate struct {
	Name        string `mapstructure:"name"`
	Certificate string `mapstructure:"certificate"`
	Key         string `mapstructure:"key"`
}

type acme struct {
	Hosts      []string `mapstructure:"hosts"`
	Email      *string  `mapstructure:"email"`
	Directory  *string  `mapstructure:"directory"`
	Storage    *string  `mapstructure:"storage"`
	CA         *string  `mapstructure:"ca"`
	Challenges []string `mapstructure:"challenges"`
}

type cacheStore struct {
	Name      string     `mapstructure:"name"`
	Memory    *size      `mapstructure:"memory"`
	MaxObject *size      `mapstructure:"max_object"`
	Disk      *cacheDisk `mapstructure:"disk"`
}

type cacheDisk struct {
	Path string `mapstructure:"path"`
	Size *size  `mapstructure:"size"`
}

type accessLog struct {
	File     string  `mapstructure:"file"`
	Format   *string `mapstructure:"format"`
	Template *string `mapstructure:"template"`
	Sample   *int64  `mapstructure:"sample"`
	Queue    *int64  `mapstructure:"queue"`
}

type tracing struct {
	Endpoint string         `mapstructure:"endpoint"`
	Service  *string        `mapstructure:"service"`
	Sample   *int64         `mapstructure:"sample"`
	Headers  []headerValue  `mapstructure:"headers"`
	Timeout  *time.Duration `mapstructure:"timeout"`
	Queue    *int64         `mapstructure:"queue"`
}

type route struct {
	Name            string         `mapstructure:"name"`
	Listeners       []string       `mapstructure:"listeners"`
	Match           *match         `mapstructure:"match"`
	Paths           *pathPolicy    `mapstructure:"paths"`
	Pool            *string        `mapstructure:"pool"`
	Split           []target       `mapstructure:"split"`
	Redirect        *redirect      `mapstructure:"redirect"`
	Respond         *respond       `mapstructure:"respond"`
	Static          *static        `mapstructure:"static"`
	Rewrite         *rewrite       `mapstructure:"rewrite"`
	RequestHeaders  *headerEdits   `mapstructure:"request_headers"`
	ResponseHeaders *headerEdits   `mapstructure:"response_headers"`
	RequestID       *requestID     `mapstructure:"request_id"`
	Forwarded       *string        `mapstructure:"forwarded"`
	Timeouts        *routeTimeouts `mapstructure:"timeouts"`
	Limits          *routeLimits   `mapstructure:"limits"`
	Cache           *cachePolicy   `mapstructure:"cache"`
	Compress        *compress      `mapstructure:"compress"`
	Mirror          *mirror        `mapstructure:"mirror"`
}

type match struct {
	Hosts   []string    `mapstructure:"hosts"`
	Path    *string     `mapstructure:"path"`
	Prefix  *string     `mapstructure:"prefix"`
	Pattern *string     `mapstructure:"pattern"`
	Regexp  *string     `mapstructure:"regexp"`
	Methods []string    `mapstructure:"methods"`
	Headers []condition `mapstructure:"headers"`
	Query   []condition `mapstructure:"query"`
	Cookies []condition `mapstructure:"cookies"`
	Sources []string    `mapstructure:"sources"`
}

type condition struct {
	Name     string  `mapstructure:"name"`
	Exact    *string `mapstructure:"exact"`
	Prefix   *string `mapstructure:"prefix"`
	Suffix   *string `mapstructure:"suffix"`
	Contains *string `mapstructure:"contains"`
	Regexp   *string `mapstructure:"regexp"`
	Present  *bool   `mapstructure:"present"`
}

type pathPolicy struct {
	Dots         *string `mapstructure:"dots"`
	DoubleSlash  *string `mapstructure:"double_slash"`
	EscapedSlash *string `mapstructure:"escaped_slash"`
}

type target struct {
	Pool   string `mapstructure:"pool"`
	Weight *int64 `mapstructure:"weight"`
}

type redirect struct {
	Status   *int64 `mapstructure:"status"`
	Location string `mapstructure:"location"`
}

type respond struct {
	Status      *int64  `mapstructure:"status"`
	ContentType *string `mapstructure:"content_type"`
	Body        *string `mapstructure:"body"`
}

type static struct {
	Root          string   `mapstructure:"root"`
	Index         []string `mapstructure:"index"`
	TryFiles      []string `mapstructure:"try_files"`
	Listing       bool     `mapstructure:"listing"`
	Precompressed []string `mapstructure:"precompressed"`
	StripPrefix   bool     `mapstructure:"strip_prefix"`
}

type rewrite struct {
	Path        *string       `mapstructure:"path"`
	StripPrefix *string       `mapstructure:"strip_prefix"`
	AddPrefix   *string       `mapstructure:"add_prefix"`
	Regexp      *string       `mapstructure:"regexp"`
	Replacement *string       `mapstructure:"replacement"`
	Host        *string       `mapstructure:"host"`
	SetQuery    []headerValue `mapstructure:"set_query"`
	RemoveQuery []string      `mapstructure:"remove_query"`
}

type headerValue struct {
	Name  string `mapstructure:"name"`
	Value string `mapstructure:"value"`
}

type headerEdits struct {
	Remove []string      `mapstructure:"remove"`
	Set    []headerValue `mapstructure:"set"`
	Add    []headerValue `mapstructure:"add"`
}

type requestID struct {
	Header *string `mapstructure:"header"`
	Trust  bool    `mapstructure:"trust"`
	Answer bool    `mapstructure:"answer"`
}

type routeTimeouts struct {
	Request  *time.Duration `mapstructure:"request"`
	Response *time.Duration `mapstructure:"response"`
	Idle     *time.Duration `mapstructure:"idle"`
}

type routeLimits struct {
	Body *size `mapstructure:"body"`
}

type cachePolicy struct {
	Store                string         `mapstructure:"store"`
	Key                  *cacheKey      `mapstructure:"key"`
	TTL                  *time.Duration `mapstructure:"ttl"`
	StatusTTL            []statusTTL    `mapstructure:"status_ttl"`
	MinTTL               *time.Duration `mapstructure:"min_ttl"`
	MaxTTL               *time.Duration `mapstructure:"max_ttl"`
	StaleWhileRevalidate *time.Duration `mapstructure:"stale_while_revalidate"`
	StaleIfError         *time.Duration `mapstructure:"stale_if_error"`
	SetCookie            bool           `mapstructure:"set_cookie"`
	Authorization        bool           `mapstructure:"authorization"`
	IgnoreClient         bool           `mapstructure:"ignore_client"`
	Heuristic            *bool          `mapstructure:"heuristic"`
	CacheStatus          *bool          `mapstructure:"cache_status"`
	Tags                 []string       `mapstructure:"tags"`
}

type statusTTL struct {
	Status string         `mapstructure:"status"`
	TTL    *time.Duration `mapstructure:"ttl"`
}

type cacheKey struct {
	Host         *bool    `mapstructure:"host"`
	Query        *bool    `mapstructure:"query"`
	SortQuery    bool     `mapstructure:"sort_query"`
	IncludeQuery []string `mapstructure:"include_query"`
	ExcludeQuery []string `mapstructure:"exclude_query"`
	Headers      []string `mapstructure:"headers"`
	Cookies      []string `mapstructure:"cookies"`
}

type compress struct {
	Codings []string `mapstructure:"codings"`
	Types   []string `mapstructure:"types"`
	MinSize *size    `mapstructure:"min_size"`
	Level   *int64   `mapstructure:"level"`
	Cookies bool     `mapstructure:"cookies"`
}

type mirror struct {
	Pool    string `mapstructure:"pool"`
	Percent *int64 `mapstructure:"percent"`
	Body    *size  `mapstructure:"body"`
}

type poolHTTP struct {
	Protocol       *string              `mapstructure:"protocol"`
	TLS            *upstreamTLS         `mapstructure:"tls"`
	Algorithm      *string              `mapstructure:"algorithm"`
	Key            *string              `mapstructure:"key"`
	Host           *string              `mapstructure:"host"`
	ProxyProtocol  *int64               `mapstructure:"proxy_protocol"`
	ConnectTimeout *time.Duration       `mapstructure:"connect_timeout"`
	Connections    *upstreamConnections `mapstructure:"connections"`
	Queue          *queue               `mapstructure:"queue"`
	Retries        *retries             `mapstructure:"retries"`
	Ejection       *ejection            `mapstructure:"ejection"`
	Sticky         *sticky              `mapstructure:"sticky"`
	Hedge          *hedge               `mapstructure:"hedge"`
}

type upstreamTLS struct {
	Verify      *string `mapstructure:"verify"`
	ServerName  *string `mapstructure:"server_name"`
	CA          *string `mapstructure:"ca"`
	Certificate *string `mapstructure:"certificate"`
	Key         *string `mapstructure:"key"`
}

type upstreamConnections struct {
	Max         *int64         `mapstructure:"max"`
	Idle        *int64         `mapstructure:"idle"`
	IdleTimeout *time.Duration `mapstructure:"idle_timeout"`
	Requests    *int64         `mapstructure:"requests"`
	Streams     *int64         `mapstructure:"streams"`
	Age         *time.Duration `mapstructure:"age"`
}

type queue struct {
	Length  *int64         `mapstructure:"length"`
	Timeout *time.Duration `mapstructure:"timeout"`
}

type retries struct {
	Attempts *int64         `mapstructure:"attempts"`
	Budget   *int64         `mapstructure:"budget"`
	Least    *int64         `mapstructure:"least"`
	Status   *string        `mapstructure:"status"`
	Timeout  *time.Duration `mapstructure:"timeout"`
	Body     *size          `mapstructure:"body"`
}

type ejection struct {
	Errors        *int64         `mapstructure:"errors"`
	GatewayErrors *int64         `mapstructure:"gateway_errors"`
	Interval      *time.Duration `mapstructure:"interval"`
	Base          *time.Duration `mapstructure:"base"`
	Longest       *time.Duration `mapstructure:"longest"`
	Percent       *int64         `mapstructure:"percent"`
	SuccessRate   *successRate   `mapstructure:"success_rate"`
}

type successRate struct {
	Hosts    *int64 `mapstructure:"hosts"`
	Requests *int64 `mapstructure:"requests"`
	Factor   *int64 `mapstructure:"factor"`
}

type sticky struct {
	Cookie  string         `mapstructure:"cookie"`
	KeyFile string         `mapstructure:"key_file"`
	TTL     *time.Duration `mapstructure:"ttl"`
	Path    *string        `mapstructure:"path"`
	Secure  *bool          `mapstructure:"secure"`
}

type hedge struct {
	After *time.Duration `mapstructure:"after"`
}
