// Package client speaks the daemon's admin API.
package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"syscall"
	"time"

	"weir/loader/api/wire"
	"weir/loader/lb"
)

// Client talks to the daemon at one socket. It may be used concurrently.
type Client struct {
	socket string
	http   *http.Client
}

// New returns a client for a socket; nothing is connected yet.
func New(socket string) *Client {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		d := net.Dialer{Timeout: 5 * time.Second}
		return d.DialContext(ctx, "unix", socket)
	}
	return &Client{socket: socket, http: &http.Client{Transport: &http.Transport{DialContext: dial}}}
}

// NoDaemonError says that nothing answers on the socket.
type NoDaemonError struct {
	Socket string
	Err    error
}

func (e *NoDaemonError) Error() string { return "no daemon answers on " + e.Socket }
func (e *NoDaemonError) Unwrap() error { return e.Err }

// AnswerError is a request that the daemon refused.
type AnswerError struct {
	Status  int // of HTTP
	Message string
}

func (e *AnswerError) Error() string { return e.Message }

// Status asks for the state of the daemon.
func (c *Client) Status(ctx context.Context) (s wire.Status, err error) {
	return s, c.get(ctx, "/v1/status", &s)
}

// Services lists the services.
func (c *Client) Services(ctx context.Context) ([]wire.Service, error) {
	var s wire.Services
	err := c.get(ctx, "/v1/services", &s)
	return s.Services, err
}

// Backends lists the backends.
func (c *Client) Backends(ctx context.Context) ([]wire.Backend, error) {
	var b wire.Backends
	err := c.get(ctx, "/v1/backends", &b)
	return b.Backends, err
}

// SetWeight overrides a weight. Like Drain and Ready it returns when the data
// plane holds the change.
func (c *Client) SetWeight(ctx context.Context, pool string, ep netip.AddrPort, w lb.Weight, t wire.Term) error {
	return c.post(ctx, backendPath(pool, ep, "weight"), wire.SetWeight{Weight: &w, Term: t})
}

// Drain gives a backend no new flows.
func (c *Client) Drain(ctx context.Context, pool string, ep netip.AddrPort, t wire.Term) error {
	return c.post(ctx, backendPath(pool, ep, "drain"), t)
}

// Overrides lists the weights and drains that were set.
func (c *Client) Overrides(ctx context.Context) ([]wire.Override, error) {
	var o wire.Overrides
	err := c.get(ctx, "/v1/overrides", &o)
	return o.Overrides, err
}

// Weights explains the weights of a pool, or of all if its name is "".
func (c *Client) Weights(ctx context.Context, pool string) ([]wire.PoolWeights, error) {
	v := url.Values{}
	if pool != "" {
		v.Set("pool", pool)
	}
	var w wire.Weights
	err := c.get(ctx, "/v1/weights?"+v.Encode(), &w)
	return w.Pools, err
}

// BackendWeight explains one weight.
func (c *Client) BackendWeight(ctx context.Context, pool string, ep netip.AddrPort) (p wire.PoolWeights, err error) {
	return p, c.get(ctx, "/v1/weights/"+url.PathEscape(pool)+"/"+url.PathEscape(ep.String()), &p)
}

// Ready removes the override of a backend.
func (c *Client) Ready(ctx context.Context, pool string, ep netip.AddrPort) error {
	return c.post(ctx, backendPath(pool, ep, "ready"), nil)
}

func backendPath(pool string, ep netip.AddrPort, verb string) string {
	return "/v1/backends/" + url.PathEscape(pool) + "/" + url.PathEscape(ep.String()) + "/" + verb
}

// Reload makes the daemon read its configuration again.
func (c *Client) Reload(ctx context.Context) error { return c.post(ctx, "/v1/reload", nil) }

// FlowQuery selects flows: one by Src, Dst and Proto if Src is valid, else
// those of Backend (ADDRESS or ADDRESS:PORT, "" for all) up to Limit.
type FlowQuery struct {
	Limit    int // 0: the daemon's default
	Backend  string
	Src, Dst netip.AddrPort
	Proto    lb.Proto
}

// Flows looks into the flow table.
func (c *Client) Flows(ctx context.Context, q FlowQuery) (f wire.Flows, err error) {
	v := url.Values{}
	if q.Limit > 0 {
		v.Set("limit", strconv.Itoa(q.Limit))
	}
	if q.Backend != "" {
		v.Set("backend", q.Backend)
	}
	if q.Src.IsValid() {
		v.Set("src", q.Src.String())
		v.Set("dst", q.Dst.String())
		v.Set("proto", q.Proto.String())
	}
	return f, c.get(ctx, "/v1/flows?"+v.Encode(), &f)
}

// Explain asks what becomes of a packet.
func (c *Client) Explain(ctx context.Context, p lb.Probe) (e wire.Explanation, err error) {
	v := url.Values{}
	v.Set("src", p.Src.String())
	v.Set("dst", p.Dst.String())
	v.Set("proto", p.Proto.String())
	if p.Ack {
		v.Set("flag", "ack")
	}
	return e, c.get(ctx, "/v1/explain?"+v.Encode(), &e)
}

// ACLs lists what is in force; of one service, or "" for all.
func (c *Client) ACLs(ctx context.Context, service string) ([]wire.ACL, error) {
	v := url.Values{}
	if service != "" {
		v.Set("service", service)
	}
	var a wire.ACLs
	err := c.get(ctx, "/v1/acl?"+v.Encode(), &a)
	return a.ACLs, err
}

// TestACL asks what holds for a source.
func (c *Client) TestACL(ctx context.Context, src netip.Addr) (t wire.ACLTest, err error) {
	return t, c.get(ctx, "/v1/acl/test?src="+url.QueryEscape(src.String()), &t)
}

// EventFilter selects events; empty fields select all.
type EventFilter struct{ Service, Reason, Kind string }

// Events calls yield for each event until it returns false, ctx ends or the
// daemon goes. Only the last is an error.
func (c *Client) Events(ctx context.Context, f EventFilter, yield func(lb.Event) bool) error {
	v := url.Values{}
	for k, x := range map[string]string{"service": f.Service, "reason": f.Reason, "kind": f.Kind} {
		if x != "" {
			v.Set(k, x)
		}
	}
	return stream(ctx, c, "/v1/events?"+v.Encode(), yield)
}

// CaptureFilter selects packets; the zero value those for services, whole.
type CaptureFilter struct {
	Service, Backend string
	Reasons          []string
	All              bool // also packets for no service
	SnapLen          int
}

// Capture calls yield for each packet until it returns false, ctx ends or the
// daemon goes. Only the last is an error.
func (c *Client) Capture(ctx context.Context, f CaptureFilter, yield func(lb.Captured) bool) error {
	v := url.Values{}
	for k, x := range map[string]string{"service": f.Service, "backend": f.Backend, "reason": strings.Join(f.Reasons, ",")} {
		if x != "" {
			v.Set(k, x)
		}
	}
	if f.All {
		v.Set("all", "")
	}
	if f.SnapLen > 0 {
		v.Set("snaplen", strconv.Itoa(f.SnapLen))
	}
	return stream(ctx, c, "/v1/capture?"+v.Encode(), yield)
}

// stream reads one JSON value after the other.
func stream[T any](ctx context.Context, c *Client, path string, yield func(T) bool) error {
	resp, err := c.do(ctx, http.MethodGet, path, nil)
	if err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	defer resp.Body.Close()
	d := json.NewDecoder(resp.Body)
	for {
		var v T
		if err := d.Decode(&v); err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return fmt.Errorf("the event stream ended, the daemon has stopped: %w", err)
		}
		if !yield(v) {
			return nil
		}
	}
}

// Metrics copies the Prometheus text to w.
func (c *Client) Metrics(ctx context.Context, w io.Writer) error {
	resp, err := c.do(ctx, http.MethodGet, "/metrics", nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	_, err = io.Copy(w, resp.Body)
	return err
}

func (c *Client) get(ctx context.Context, path string, into any) error {
	resp, err := c.do(ctx, http.MethodGet, path, nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(into); err != nil {
		return fmt.Errorf("reading the daemon's answer to %s: %w", path, err)
	}
	return nil
}

func (c *Client) post(ctx context.Context, path string, body any) error {
	var b []byte
	if body != nil {
		var err error
		if b, err = json.Marshal(body); err != nil {
			return fmt.Errorf("encoding the request: %w", err)
		}
	}
	resp, err := c.do(ctx, http.MethodPost, path, b)
	if err != nil {
		return err
	}
	return resp.Body.Close()
}

// ask posts a question and reads its answer.
func (c *Client) ask(ctx context.Context, path string, body, into any) error {
	b, err := json.Marshal(body)
	if err != nil {
		return fmt.Errorf("encoding the request: %w", err)
	}
	resp, err := c.do(ctx, http.MethodPost, path, b)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(into); err != nil {
		return fmt.Errorf("reading the daemon's answer: %w", err)
	}
	return nil
}

// do returns an answer with status 2xx, or an error.
func (c *Client) do(ctx context.Context, method, path string, body []byte) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, "http://weir"+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, c.explain(err)
	}
	if resp.StatusCode/100 == 2 {
		return resp, nil
	}
	defer resp.Body.Close()
	return nil, answerError(resp)
}

func (c *Client) explain(err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return &NoDaemonError{Socket: c.socket, Err: err}
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("no permission to use the socket %s: run as root or as its group", c.socket)
	}
	var u *url.Error
	if errors.As(err, &u) {
		err = u.Err // the URL has a made-up host
	}
	return fmt.Errorf("talking to the daemon on %s: %w", c.socket, err)
}

func answerError(resp *http.Response) error {
	var e wire.Error
	b, err := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	if err != nil || json.Unmarshal(b, &e) != nil || e.Error == "" {
		e.Error = "the daemon answered " + resp.Status
	}
	return &AnswerError{Status: resp.StatusCode, Message: e.Error}
}

// Routes lists the routes of the HTTP tier.
func (c *Client) Routes(ctx context.Context) ([]wire.Route, error) {
	var r wire.Routes
	err := c.get(ctx, "/v1/http/routes", &r)
	return r.Routes, err
}

// ExplainRoute says what becomes of a request.
func (c *Client) ExplainRoute(ctx context.Context, q wire.RouteQuestion) (e wire.RouteExplanation, err error) {
	return e, c.ask(ctx, "/v1/http/explain", q, &e)
}

// Certificates lists the certificates of the HTTP tier.
func (c *Client) Certificates(ctx context.Context) ([]wire.Certificate, error) {
	var all wire.Certificates
	err := c.get(ctx, "/v1/http/certificates", &all)
	return all.Certificates, err
}

// Caches gives counters and sizes of the caches.
func (c *Client) Caches(ctx context.Context) ([]wire.Cache, error) {
	var all wire.Caches
	err := c.get(ctx, "/v1/http/caches", &all)
	return all.Caches, err
}

// CacheEntries gives what is stored for a URL, in one cache or, if its name is
// "", in all.
func (c *Client) CacheEntries(ctx context.Context, cache, address string) ([]wire.CacheEntry, error) {
	v := url.Values{"url": {address}}
	if cache != "" {
		v.Set("cache", cache)
	}
	var all wire.CacheEntries
	err := c.get(ctx, "/v1/http/cache?"+v.Encode(), &all)
	return all.Entries, err
}

// Purge makes caches forget.
func (c *Client) Purge(ctx context.Context, p wire.Purge) (done wire.Purged, err error) {
	return done, c.ask(ctx, "/v1/http/purge", p, &done)
}
