package exchange

// Name numbers the field names that weir itself looks at, so that finding one
// compares no text. Other fields have the Name 0 and are found by their text.
type Name uint8

// Known field names (RFC 9110 and those of the comments).
const (
	Other Name = iota
	Accept
	AcceptEncoding
	AcceptRanges
	Age
	AltSvc // RFC 7838
	Authorization
	CacheControl
	CacheStatus // RFC 9211
	CacheTag
	CDNCacheControl // RFC 9213
	Connection
	ContentEncoding
	ContentLength
	ContentRange
	ContentType
	Cookie
	Date
	ETag
	Expect
	Expires
	Forwarded // RFC 7239
	Host
	HTTP2Settings
	IfMatch
	IfModifiedSince
	IfNoneMatch
	IfRange
	IfUnmodifiedSince
	KeepAlive
	LastModified
	Link
	Location
	Origin
	Pragma
	ProxyAuthenticate
	ProxyAuthorization
	ProxyConnection
	Range
	Referer
	SecWebSocketKey // RFC 6455
	Server
	SetCookie
	SurrogateKey
	TE
	Traceparent // W3C Trace Context
	Trailer
	TransferEncoding
	Upgrade
	UserAgent
	Vary
	Via
	Warning
	XForwardedFor
	XForwardedHost
	XForwardedProto
	XRequestID
	Names // how many there are, Other included; at most 64
)

var nameTexts = [Names]string{
	Accept: "Accept", AcceptEncoding: "Accept-Encoding", AcceptRanges: "Accept-Ranges", Age: "Age",
	AltSvc: "Alt-Svc", Authorization: "Authorization", CacheControl: "Cache-Control",
	CacheStatus: "Cache-Status", CacheTag: "Cache-Tag", CDNCacheControl: "CDN-Cache-Control",
	Connection: "Connection", ContentEncoding: "Content-Encoding", ContentLength: "Content-Length",
	ContentRange: "Content-Range", ContentType: "Content-Type", Cookie: "Cookie", Date: "Date",
	ETag: "ETag", Expect: "Expect", Expires: "Expires", Forwarded: "Forwarded", Host: "Host",
	HTTP2Settings: "HTTP2-Settings", IfMatch: "If-Match", IfModifiedSince: "If-Modified-Since",
	IfNoneMatch: "If-None-Match", IfRange: "If-Range", IfUnmodifiedSince: "If-Unmodified-Since",
	KeepAlive: "Keep-Alive", LastModified: "Last-Modified", Link: "Link", Location: "Location",
	Origin: "Origin", Pragma: "Pragma", ProxyAuthenticate: "Proxy-Authenticate",
	ProxyAuthorization: "Proxy-Authorization", ProxyConnection: "Proxy-Connection", Range: "Range",
	Referer: "Referer", SecWebSocketKey: "Sec-WebSocket-Key", Server: "Server",
	SetCookie: "Set-Cookie", SurrogateKey: "Surrogate-Key", TE: "TE", Traceparent: "Traceparent",
	Trailer: "Trailer", TransferEncoding: "Transfer-Encoding", Upgrade: "Upgrade",
	UserAgent: "User-Agent", Vary: "Vary", Via: "Via", Warning: "Warning",
	XForwardedFor: "X-Forwarded-For", XForwardedHost: "X-Forwarded-Host",
	XForwardedProto: "X-Forwarded-Proto", XRequestID: "X-Request-Id",
}

// longestName is the length of the longest known name.
const longestName = len("If-Unmodified-Since")

// byLength lists the known names of each length.
var byLength = func() (all [longestName + 1][]Name) {
	for n := Other + 1; n < Names; n++ {
		length := len(nameTexts[n])
		all[length] = append(all[length], n)
	}
	return all
}()

// String is the name as it is usually written, "" for Other.
func (n Name) String() string { return nameTexts[n] }

// NameOf finds a name by its text, in any case.
func NameOf[T []byte | string](text T) Name {
	if len(text) > longestName {
		return Other
	}
	for _, n := range byLength[len(text)] {
		if equalFold(text, nameTexts[n]) {
			return n
		}
	}
	return Other
}

// equalFold compares names of fields: ASCII letters in any case.
func equalFold[A, B []byte | string](a A, b B) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range len(a) {
		if x, y := a[i], b[i]; x != y && lower(x) != lower(y) {
			return false
		}
	}
	return true
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c | 0x20
	}
	return c
}
