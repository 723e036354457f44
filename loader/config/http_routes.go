package config

import (
	"fmt"
	"math"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"

	"weir/loader/lb"
)

const maxRoutes = 1 << 20

func (h *httpReader) routes(listed []route) []lb.Route {
	if len(listed) == 0 {
		h.r.missing(h.p.key("routes"), "a list of at least one route")
	}
	if len(listed) > maxRoutes {
		h.fault("routes", "%d routes are more than there can be (%d)", len(listed), maxRoutes)
		return nil
	}
	names := uniqueNames{}
	out := make([]lb.Route, 0, len(listed))
	for i, raw := range listed {
		f := fields{h.r, h.p.key("routes").item(i)}
		names.check(h.r, f.p, raw.Name)
		out = append(out, h.route(f, raw))
	}
	return out
}

func (h *httpReader) route(f fields, raw route) lb.Route {
	out := lb.Route{Name: raw.Name, Listeners: raw.Listeners, BodyBytes: -1}
	for i, name := range raw.Listeners {
		item := f.p.key("listeners").item(i)
		if !h.r.known(item) && !h.listeners[name] && !h.r.known(h.p.key("listeners")) {
			h.r.field(item, "there is no listener %s", quote(name))
		}
	}
	var captures []string
	if raw.Match != nil {
		out.Match, captures = readMatch(f.in("match"), *raw.Match)
	}
	h.action(f, raw, &out, captures)
	out.Paths = readPathPolicy(f.in("paths"), or(raw.Paths, pathPolicy{}))
	if raw.Rewrite != nil {
		out.Rewrite = readRewrite(f.in("rewrite"), *raw.Rewrite, captures)
	}
	out.RequestHeaders = readEdits(f.in("request_headers"), raw.RequestHeaders, captures)
	out.ResponseHeaders = readEdits(f.in("response_headers"), raw.ResponseHeaders, captures)
	out.RequestID = readRequestID(f.in("request_id"), raw.RequestID)
	out.Forwarded = map[string]lb.ForwardedStyle{
		"x": lb.ForwardedX, "rfc7239": lb.ForwardedRFC, "both": lb.ForwardedBoth, "none": lb.ForwardedNone,
	}[f.oneOf("forwarded", raw.Forwarded, "x", "x", "rfc7239", "both", "none")]
	out.Timeouts = readRouteTimeouts(f.in("timeouts"), or(raw.Timeouts, routeTimeouts{}))
	if raw.Limits != nil {
		out.BodyBytes = f.in("limits").size("body", raw.Limits.Body, -1, 0, anySize)
	}
	if raw.Cache != nil {
		out.Cache = h.cachePolicy(f.in("cache"), *raw.Cache)
	}
	if raw.Compress != nil {
		out.Compress = readCompress(f.in("compress"), *raw.Compress)
	}
	if raw.Mirror != nil {
		m := f.in("mirror")
		out.Mirror = lb.Mirror{
			Pool: h.pool(m, "pool", raw.Mirror.Pool), Percent: m.number("percent", raw.Mirror.Percent, 100, 1, 100),
			MaxBytes: m.size("body", raw.Mirror.Body, 64<<10, 0, 16<<20),
		}
	}
	return out
}

// pool reads the name of one that exists.
func (h *httpReader) pool(f fields, key, name string) string {
	if _, known := h.pools[name]; name == "" {
		h.r.missing(f.p.key(key), "the name of a pool")
	} else if !known && h.allNamed {
		f.fault(key, "there is no pool %s", quote(name))
	}
	return name
}

const actionKeys = "pool, split, redirect, respond or static"

// action reads the one thing that a route does.
func (h *httpReader) action(f fields, raw route, out *lb.Route, captures []string) {
	var there []string
	for key, is := range map[string]bool{
		"pool": raw.Pool != nil, "split": raw.Split != nil, "redirect": raw.Redirect != nil,
		"respond": raw.Respond != nil, "static": raw.Static != nil,
	} {
		if is {
			there = append(there, key)
		}
	}
	if slices.Sort(there); len(there) == 0 {
		for _, key := range []string{"pool", "split", "redirect", "respond", "static"} {
			if h.r.known(f.p.key(key)) {
				return
			}
		}
		h.r.field(f.p, "does nothing: it needs one of %s", actionKeys)
		return
	} else if len(there) > 1 {
		f.fault(there[1], "is one action too many, as there is %s; a route has one of %s", there[0], actionKeys)
	}
	switch {
	case raw.Pool != nil:
		out.Split = []lb.Target{{Pool: h.pool(f, "pool", *raw.Pool), Weight: 1}}
	case raw.Split != nil:
		out.Split = h.split(f, raw.Split)
	case raw.Redirect != nil:
		out.Redirect = readRedirect(f.in("redirect"), *raw.Redirect, captures)
	case raw.Respond != nil:
		out.Respond = readRespond(f.in("respond"), *raw.Respond)
	case raw.Static != nil:
		out.Static = readStatic(f.in("static"), *raw.Static)
	}
}

func (h *httpReader) split(f fields, listed []target) []lb.Target {
	out := make([]lb.Target, 0, len(listed))
	sum := 0
	for i, raw := range listed {
		item := fields{h.r, f.p.key("split").item(i)}
		t := lb.Target{Pool: h.pool(item, "pool", raw.Pool), Weight: item.number("weight", raw.Weight, 1, 0, 1_000_000)}
		sum += t.Weight
		out = append(out, t)
	}
	if sum == 0 {
		f.fault("split", "needs a pool with a weight above 0")
	}
	return out
}

func readRedirect(f fields, raw redirect, captures []string) *lb.Redirect {
	out := &lb.Redirect{Status: f.number("status", raw.Status, http.StatusFound, 300, 399)}
	if !slices.Contains([]int{301, 302, 303, 307, 308}, out.Status) {
		f.fault("status", "%d is not 301, 302, 303, 307 or 308", out.Status)
	}
	if raw.Location == "" {
		f.r.missing(f.p.key("location"), "where to, such as https://{hostname}{uri}")
		return out
	}
	out.Location = f.template("location", raw.Location, captures)
	if !regexp.MustCompile(`^(/|https?://|\{scheme\}://|\{path\}|\{uri\})`).MatchString(raw.Location) {
		f.fault("location", "%s begins with neither /, http://, https://, {scheme}://, {path} nor {uri}", quote(raw.Location))
	}
	return out
}

func readRespond(f fields, raw respond) *lb.Respond {
	out := &lb.Respond{
		Status:      f.number("status", raw.Status, http.StatusOK, 200, 599),
		ContentType: or(raw.ContentType, "text/plain; charset=utf-8"), Body: or(raw.Body, ""),
	}
	if strings.ContainsFunc(out.ContentType, func(c rune) bool { return c < ' ' || c >= 0x7f }) {
		f.fault("content_type", "%s is not ASCII text", quote(out.ContentType))
	}
	if len(out.Body) > 1<<20 {
		f.fault("body", "%d bytes are more than there can be (1 MiB); use static", len(out.Body))
	}
	if (out.Status == 204 || out.Status == 304) && out.Body != "" {
		f.fault("body", "an answer with status %d has none", out.Status)
	}
	return out
}

func readStatic(f fields, raw static) *lb.Static {
	out := &lb.Static{
		Root: f.file("root", raw.Root), Index: raw.Index, TryFiles: raw.TryFiles, Listing: raw.Listing, StripPrefix: raw.StripPrefix,
		Precompressed: f.someOf("precompressed", raw.Precompressed, nil, "zstd", "br", "gzip"),
	}
	if raw.Index == nil {
		out.Index = []string{"index.html"}
	}
	for i, name := range raw.Index {
		if strings.ContainsRune(name, '/') || name == "" || strings.HasPrefix(name, ".") {
			f.r.field(f.p.key("index").item(i), "%s is not the name of a file without /", quote(name))
		}
	}
	for i, name := range raw.TryFiles {
		last := i == len(raw.TryFiles)-1
		code, isStatus := strings.CutPrefix(name, "=")
		if isStatus && (!last || !regexp.MustCompile("^[45][0-9][0-9]$").MatchString(code)) || !isStatus && !strings.HasPrefix(name, "/") && !strings.HasPrefix(name, "{path}") {
			f.r.field(f.p.key("try_files").item(i), "%s begins with neither / nor {path} and is, as the last, no status such as =404", quote(name))
		}
	}
	return out
}

func readPathPolicy(f fields, raw pathPolicy) lb.PathPolicy {
	actions := map[string]lb.PathAction{
		"refuse": lb.PathRefuse, "resolve": lb.PathResolve, "merge": lb.PathResolve, "decode": lb.PathResolve, "keep": lb.PathKeep,
	}
	return lb.PathPolicy{
		Dots:         actions[f.oneOf("dots", raw.Dots, "refuse", "refuse", "resolve")],
		DoubleSlash:  actions[f.oneOf("double_slash", raw.DoubleSlash, "refuse", "refuse", "merge", "keep")],
		EscapedSlash: actions[f.oneOf("escaped_slash", raw.EscapedSlash, "refuse", "refuse", "decode", "keep")],
	}
}

func readEdits(f fields, raw *headerEdits, captures []string) lb.HeaderEdits {
	if raw == nil {
		return lb.HeaderEdits{}
	}
	out := lb.HeaderEdits{
		Remove: raw.Remove, Set: f.headerValues("set", raw.Set, captures), Add: f.headerValues("add", raw.Add, captures),
	}
	for i, name := range raw.Remove {
		if item := f.p.key("remove").item(i); !f.r.known(item) && !isToken(strings.TrimSuffix(name, "*")) {
			f.r.field(item, "%s is not a name of %s", quote(name), tokenChars)
		} else if err := editable(name); err != nil {
			f.r.field(item, "%s", err)
		}
	}
	for key, list := range map[string][]lb.HeaderValue{"set": out.Set, "add": out.Add} {
		for i, v := range list {
			if err := editable(v.Name); err != nil {
				f.r.field(f.p.key(key).item(i).key("name"), "%s", err)
			}
		}
	}
	return out
}

// editable refuses fields that say where a message ends or how a connection
// goes on: they are each connection's own.
func editable(name string) error {
	switch strings.ToLower(name) {
	case "connection", "content-length", "host", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade":
		return fmt.Errorf("%s cannot be edited: it is the connection's own (for host there is rewrite.host)", quote(name))
	}
	return nil
}

func readRequestID(f fields, raw *requestID) lb.RequestID {
	if raw == nil {
		return lb.RequestID{}
	}
	out := lb.RequestID{Header: or(raw.Header, "X-Request-Id"), Trust: raw.Trust, Answer: raw.Answer}
	if !isToken(out.Header) {
		f.fault("header", "%s is not a name of %s", quote(out.Header), tokenChars)
	}
	return out
}

func readRouteTimeouts(f fields, raw routeTimeouts) lb.RouteTimeouts {
	return lb.RouteTimeouts{
		Request:  f.duration("request", raw.Request, 0, 0, century),
		Response: f.duration("response", raw.Response, time.Minute, 0, day),
		Idle:     f.duration("idle", raw.Idle, time.Hour, 0, century),
	}
}

func (h *httpReader) cachePolicy(f fields, raw cachePolicy) *lb.CachePolicy {
	if raw.Store == "" {
		h.r.missing(f.p.key("store"), "the name of one of http.caches")
	} else if !h.caches[raw.Store] && !h.r.known(h.p.key("caches")) {
		f.fault("store", "there is no cache %s", quote(raw.Store))
	}
	out := &lb.CachePolicy{
		Store: raw.Store, Key: readCacheKey(f.in("key"), or(raw.Key, cacheKey{})),
		TTL:       f.duration("ttl", raw.TTL, 0, 0, century),
		MinTTL:    f.duration("min_ttl", raw.MinTTL, 0, 0, century),
		MaxTTL:    f.duration("max_ttl", raw.MaxTTL, 0, 0, century),
		SetCookie: raw.SetCookie, Authorization: raw.Authorization, IgnoreClient: raw.IgnoreClient,
		WhileStale: f.duration("stale_while_revalidate", raw.StaleWhileRevalidate, 0, 0, century),
		IfError:    f.duration("stale_if_error", raw.StaleIfError, 0, 0, century),
		Heuristic:  or(raw.Heuristic, true), Status: or(raw.CacheStatus, true), Tags: f.tokens("tags", raw.Tags),
	}
	if raw.Tags == nil {
		out.Tags = []string{"Cache-Tag", "Surrogate-Key"}
	}
	if out.MaxTTL > 0 && out.MinTTL > out.MaxTTL {
		f.fault("min_ttl", "%s is more than max_ttl (%s)", out.MinTTL, out.MaxTTL)
	}
	for i, s := range raw.StatusTTL {
		item := fields{h.r, f.p.key("status_ttl").item(i)}
		set, err := lb.ParseStatusSet(s.Status)
		if err != nil && !h.r.known(item.p.key("status")) {
			item.fault("status", "%s is not codes in 100..599 such as 404,410", quote(s.Status))
		}
		if s.TTL == nil {
			h.r.missing(item.p.key("ttl"), "how long such answers are kept")
		}
		out.StatusTTL = append(out.StatusTTL, lb.StatusTTL{Status: set, TTL: item.duration("ttl", s.TTL, 0, 0, century)})
	}
	return out
}

func readCacheKey(f fields, raw cacheKey) lb.CacheKey {
	out := lb.CacheKey{
		IgnoreHost: !or(raw.Host, true), IgnoreQuery: !or(raw.Query, true), SortQuery: raw.SortQuery,
		IncludeQuery: raw.IncludeQuery, ExcludeQuery: raw.ExcludeQuery,
		Headers: f.tokens("headers", raw.Headers), Cookies: f.tokens("cookies", raw.Cookies),
	}
	if raw.IncludeQuery != nil && raw.ExcludeQuery != nil {
		f.fault("exclude_query", "cannot be beside include_query")
	}
	return out
}

func readCompress(f fields, raw compress) *lb.Compress {
	out := &lb.Compress{
		Codings: f.someOf("codings", raw.Codings, []string{"zstd", "br", "gzip"}, "zstd", "br", "gzip"),
		Types:   raw.Types, MinSize: f.size("min_size", raw.MinSize, 1<<10, 0, math.MaxInt32), Level: f.number("level", raw.Level, 4, 1, 9), Cookies: raw.Cookies,
	}
	for i, t := range raw.Types {
		if item := f.p.key("types").item(i); !f.r.known(item) && !strings.Contains(t, "/") {
			f.r.field(item, "%s is not a media type such as text/html or text/*", quote(t))
		}
	}
	return out
}
