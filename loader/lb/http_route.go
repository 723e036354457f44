package lb

import (
	"net/netip"
	"time"
)

// Route is what becomes of requests that match. Exactly one of Split, Redirect,
// Respond and Static is there.
type Route struct {
	Name      string
	Listeners []string // names; empty: all
	Match     Match
	Paths     PathPolicy

	Split    []Target
	Redirect *Redirect
	Respond  *Respond
	Static   *Static

	Rewrite         Rewrite
	RequestHeaders  HeaderEdits
	ResponseHeaders HeaderEdits
	RequestID       RequestID
	Forwarded       ForwardedStyle
	Timeouts        RouteTimeouts
	BodyBytes       int64 // of a request, 0: any, -1: the listener's
	Cache           *CachePolicy
	Compress        *Compress
	Mirror          Mirror
}

// Match says which requests a route is for. What is empty matches all.
type Match struct {
	Hosts   []string // lower case: "www.example.org", "*.example.org"
	Path    PathMatch
	Methods []string
	Headers []Condition
	Query   []Condition
	Cookies []Condition
	Sources []netip.Prefix
}

// Conditions is how many there are besides host and path: of routes for the
// same path, the one with more of them comes first.
func (m Match) Conditions() int {
	n := len(m.Headers) + len(m.Query) + len(m.Cookies)
	if len(m.Methods) > 0 {
		n++
	}
	if len(m.Sources) > 0 {
		n++
	}
	return n
}

// PathKind is how a path is matched.
type PathKind uint8

// Kinds of path matches, see docs/l7.md.
const (
	AnyPath PathKind = iota
	ExactPath
	PrefixPath // whole segments
	PatternPath
	RegexpPath // RE2, the whole path
)

// PathMatch is a kind and its text, valid and canonical.
type PathMatch struct {
	Kind PathKind
	Text string
}

// ConditionOp is how a value is compared.
type ConditionOp uint8

// Comparisons.
const (
	IsPresent ConditionOp = iota
	IsAbsent
	IsExact
	HasPrefix
	HasSuffix
	Contains
	MatchesRegexp // RE2, anywhere in the value
)

// Condition is about the values of one field, parameter or cookie; one of them
// must fit, and with IsAbsent there must be none.
type Condition struct {
	Name  string
	Op    ConditionOp
	Value string
}

// PathAction is what is done where readers of a path may disagree.
type PathAction uint8

// Actions; refuse answers 400.
const (
	PathRefuse  PathAction = iota
	PathResolve            // . and .. are resolved, // becomes /, %2F becomes /
	PathKeep               // sent on as it came
)

// PathPolicy is what becomes of paths that can be read in several ways.
type PathPolicy struct {
	Dots         PathAction // "." and ".." segments, never kept
	DoubleSlash  PathAction
	EscapedSlash PathAction // %2F and %5C
}

// Target is a pool and its share.
type Target struct {
	Pool   string
	Weight int
}

// Redirect sends the client elsewhere.
type Redirect struct {
	Status   int
	Location Template
}

// Respond is a fixed answer.
type Respond struct {
	Status      int
	ContentType string
	Body        string
}

// Static serves files.
type Static struct {
	Root          string
	Index         []string
	TryFiles      []string // templates of file names with {path}; "=404" ends with a status
	Listing       bool
	Precompressed []string // codings, in the order of preference
	StripPrefix   bool     // the route's prefix is no part of the file name
}

// Rewrite changes what the backend is asked for. The zero value changes nothing.
type Rewrite struct {
	Path        Template // empty: as below
	StripPrefix string   // taken off the path's begin
	AddPrefix   string
	Regexp      string // RE2 on the path, replaced by Replacement
	Replacement string // with $1 or ${name}
	Host        Template
	SetQuery    []HeaderValue
	RemoveQuery []string
}

// HeaderValue is a name and what it is set to.
type HeaderValue struct {
	Name  string
	Value Template
}

// HeaderEdits are done in this order.
type HeaderEdits struct {
	Remove []string // names; a * at the end stands for any rest
	Set    []HeaderValue
	Add    []HeaderValue
}

// Empty reports whether nothing is changed.
func (e HeaderEdits) Empty() bool { return len(e.Remove)+len(e.Set)+len(e.Add) == 0 }

// RequestID says which header has a request's id. Without a name there is
// none.
type RequestID struct {
	Header string
	Trust  bool // take what the client sent, if it is 1 to 128 visible characters
	Answer bool // the client is told
}

// ForwardedStyle is which headers tell backends of the client.
type ForwardedStyle uint8

// Styles.
const (
	ForwardedX    ForwardedStyle = iota // X-Forwarded-For, -Proto, -Host
	ForwardedRFC                        // Forwarded (RFC 7239)
	ForwardedBoth                       //
	ForwardedNone                       // removed, unless the peer is trusted
)

// RouteTimeouts bound requests. 0: without end.
type RouteTimeouts struct {
	Request  time.Duration // from header to the end of the response
	Response time.Duration // until the backend's response header is there
	Idle     time.Duration // of a tunnel, such as a WebSocket, both ways
}

// CachePolicy is how a route uses a cache.
type CachePolicy struct {
	Store         string
	Key           CacheKey
	TTL           time.Duration // where the response says nothing; 0: not stored, but for RFC 9111, 4.2.2
	StatusTTL     []StatusTTL   // before TTL
	MinTTL        time.Duration // whatever the response says
	MaxTTL        time.Duration // 0: any
	WhileStale    time.Duration // stale-while-revalidate where the response says nothing
	IfError       time.Duration // stale-if-error where the response says nothing
	SetCookie     bool          // answers with Set-Cookie may be stored, without it
	Authorization bool          // answers to requests with Authorization may be stored as others
	IgnoreClient  bool          // Cache-Control and Pragma of requests count for nothing
	Heuristic     bool          // RFC 9111, 4.2.2
	Status        bool          // Cache-Status is sent
	Tags          []string      // names of fields with tags, for purging
}

// StatusTTL is how long answers of some statuses are kept where they say
// nothing.
type StatusTTL struct {
	Status StatusSet
	TTL    time.Duration
}

// CacheKey is what tells stored answers apart besides scheme, host and path.
type CacheKey struct {
	IgnoreHost   bool
	IgnoreQuery  bool
	SortQuery    bool
	IncludeQuery []string // only these parameters; empty: all
	ExcludeQuery []string
	Headers      []string
	Cookies      []string
}

// Compress says what is compressed on the way to the client.
type Compress struct {
	Codings []string // in the order of preference: zstd, br, gzip
	Types   []string // media types; a * at the end stands for any rest; nil: those of text
	MinSize int64    // bytes
	Level   int      // 1 to 9
	Cookies bool     // answers that set cookies, too
}

// Mirror sends copies of requests to another pool, whose answers are thrown
// away. Without a pool there is none.
type Mirror struct {
	Pool     string
	Percent  int
	MaxBytes int64 // of a body; requests with more are not copied
}
