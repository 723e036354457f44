package lb

import "time"

// HTTPProtocol is what backends are spoken to in.
type HTTPProtocol string

// Protocols of backends.
const (
	UpstreamH1  HTTPProtocol = "h1"
	UpstreamH2  HTTPProtocol = "h2" // over TLS
	UpstreamH2C HTTPProtocol = "h2c"
)

// PoolHTTP is how the HTTP tier uses a pool.
type PoolHTTP struct {
	Protocol      HTTPProtocol
	TLS           *UpstreamTLS // nil: plain
	Algorithm     HTTPAlgorithm
	Key           Template // of HTTPMaglev
	Host          Template // empty: what the client asked for
	ProxyProtocol int      // version of the PROXY header that connections begin with, 0: none
	ConnectWithin time.Duration
	Connections   UpstreamConnections
	Queue         Queue
	Retries       Retries
	Ejection      Ejection
	Sticky        Sticky
	Hedge         Hedge
}

// HTTPAlgorithm is how the tier picks a backend for a request.
type HTTPAlgorithm string

// Algorithms of the tier. Each follows the effective weights, but RoundRobin.
const (
	HTTPRoundRobin HTTPAlgorithm = "round_robin"
	HTTPWeighted   HTTPAlgorithm = "weighted_round_robin"
	HTTPLeastConn  HTTPAlgorithm = "least_conn" // requests under way
	HTTPRandom     HTTPAlgorithm = "random"     // the better of two
	HTTPMaglev     HTTPAlgorithm = "maglev"     // by Key
)

// UpstreamTLS is how backends are spoken to over TLS.
type UpstreamTLS struct {
	Verify     TLSVerify
	ServerName string // empty: the backend's address, or Host if it is fixed
	CA         string // PEM file; empty: the system's
	Cert, Key  string // our own, PEM files; empty: none
}

// UpstreamConnections bound connections to each backend.
type UpstreamConnections struct {
	Max      int           // at once, 0: any
	Idle     int           // kept
	IdleFor  time.Duration // kept at most
	Requests int           // of one connection, 0: any
	Streams  int           // of one h2 connection at once
	Age      time.Duration // of one connection, 0: any
}

// Queue is where requests wait for a connection of a pool that has no more.
type Queue struct {
	Length int
	Within time.Duration
}

// Retries says when a request is sent again, to another backend where there is
// one.
type Retries struct {
	Attempts int // besides the first
	Budget   int // percent of a pool's requests under way that may be retries
	Least    int // retries at once that the budget always allows
	Status   StatusSet
	Within   time.Duration // each attempt until the response header, 0: any
	Body     int64         // bytes of a request's body that are kept for sending it again
}

// Ejection takes backends out that answer badly (Envoy's outlier detection).
type Ejection struct {
	Errors   int // 5xx, resets and timeouts in a row; 0: off
	Gateway  int // 502, 503, 504, resets and timeouts in a row; 0: off
	Interval time.Duration
	Base     time.Duration // how long, times the number of ejections in a row
	Longest  time.Duration
	Percent  int // of the pool's backends that may be out at most; one always may

	Rate SuccessRate
}

// SuccessRate ejects backends that succeed less often than their peers.
type SuccessRate struct {
	Hosts    int // with enough requests, at least; 0: off
	Requests int // of a backend in an interval, at least
	Factor   int // thousandths of the standard deviation below the mean
}

// Sticky keeps a client at its backend by a signed cookie. Without a name it
// is off.
type Sticky struct {
	Cookie  string
	KeyFile string        // at least 32 bytes, shared by nodes
	TTL     time.Duration // 0: the browser's session
	Path    string
	Secure  bool
}

// Hedge sends a request again if its answer is late, and takes the first.
type Hedge struct{ After time.Duration } // 0: off
