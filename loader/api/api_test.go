package api_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"weir/loader/api"
	"weir/loader/api/client"
	"weir/loader/api/wire"
	"weir/loader/control"
	"weir/loader/control/controltest"
	"weir/loader/lb"
)

var (
	ep1  = netip.MustParseAddrPort("10.0.0.11:80")
	ep2  = netip.MustParseAddrPort("10.0.0.12:80")
	ep6  = netip.MustParseAddrPort("[2001:db8::13]:53")
	gone = netip.MustParseAddrPort("10.0.0.99:80")
	web  = lb.VIP{Addr: netip.MustParseAddr("192.0.2.1"), Port: 80, Proto: lb.TCP}
	dns  = lb.VIP{Addr: netip.MustParseAddr("2001:db8::1"), Port: 53, Proto: lb.UDP}
)

func config(t *testing.T) lb.Config {
	return lb.Config{
		Interfaces: []string{"eth0"}, StateDir: t.TempDir(), EventSample: 1,
		Pools: []lb.Pool{
			{Name: "web", Algorithm: lb.Maglev, TableSize: 251, Backends: []lb.Backend{
				{Addr: ep1.Addr(), Port: 80, Weight: 1}, {Addr: ep2.Addr(), Port: 80, Weight: 3}}},
			{Name: "dns", Algorithm: lb.RoundRobin, Backends: []lb.Backend{{Addr: ep6.Addr(), Port: 53, Weight: 1}}},
		},
		Services: []lb.Service{
			{Name: "web", VIP: web, Forward: lb.NAT, Pool: "web"},
			{Name: "dns", VIP: dns, Forward: lb.DSR, Pool: "dns"},
		},
	}
}

func counters() lb.Counters {
	return lb.Counters{
		Backends: []lb.BackendCounters{
			{VIP: web, Endpoint: ep1, ID: 1, Active: 2, Flows: 10, Packets: 100, Bytes: 9000, ReplyPackets: 90, ReplyBytes: 80000},
			{VIP: web, Endpoint: ep2, ID: 2, Active: 6, Flows: 30, Packets: 300, Bytes: 27000},
			{VIP: web, Endpoint: gone, ID: 3, Retired: true, Active: 1, Flows: 5, Packets: 50, Bytes: 4500},
			{VIP: web, Endpoint: gone, ID: 7, Retired: true, Flows: 1, Packets: 1, Bytes: 60},
			{VIP: dns, Endpoint: ep6, ID: 4, Unstored: 2, Packets: 7, Bytes: 700},
		},
		Reasons: []lb.ReasonCount{
			{Reason: "truncated", Verdict: "drop", Packets: 3},
			{Reason: "no_backend", Verdict: "drop"},
			{Reason: "not_vip", Verdict: "pass", Packets: 12},
		},
	}
}

// rig is the API over fakes, on a real socket.
type rig struct {
	*client.Client
	socket  string
	data    *controltest.DataPlane
	hops    *controltest.Hops
	control *control.Controller
	ctx     context.Context
	procSys string
	stop    func() error // the API alone
	load    func() (lb.Config, error)
}

func start(t *testing.T, cfg lb.Config) *rig {
	t.Helper()
	r := prepare(t, cfg)
	ended := make(chan error, 1)
	ctx, cancel := context.WithCancel(r.ctx)
	go func() { ended <- r.control.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-ended })
	if err := r.data.Await(r.ctx, func() bool { return r.control.Snapshot() != nil && len(r.data.Samples()) == 1 }); err != nil {
		t.Fatal(err)
	}
	return r
}

// prepare leaves the controller still.
func prepare(t *testing.T, cfg lb.Config) *rig {
	t.Helper()
	r := &rig{
		data:    controltest.NewDataPlane(),
		hops:    controltest.NewHops(ep1.Addr(), ep2.Addr(), ep6.Addr()),
		socket:  filepath.Join(t.TempDir(), "run", "weir.sock"),
		procSys: t.TempDir(),
		load:    func() (lb.Config, error) { return cfg, nil },
	}
	r.data.SetCounters(counters())
	r.control = control.New(control.Options{Config: cfg, DataPlane: r.data, Hops: r.hops,
		Load: func() (lb.Config, error) { return r.load() }})
	var cancelAll func()
	r.ctx, cancelAll = context.WithTimeout(context.Background(), 20*time.Second)
	t.Cleanup(cancelAll)
	l, err := api.Listen(r.socket)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(r.ctx)
	ended := make(chan error, 1)
	s := api.New(api.Options{Control: r.control, DataPlane: r.data, Version: "1.2.3", ConfigFile: "/etc/weir.yaml", ProcSys: r.procSys})
	go func() { ended <- s.Serve(ctx, l) }()
	r.stop = func() error { cancel(); return <-ended }
	t.Cleanup(func() {
		if ctx.Err() == nil {
			r.stop()
		}
	})
	r.Client = client.New(r.socket)
	return r
}

// raw sends a request as written and returns the answer.
func (r *rig) raw(t *testing.T, method, path, body string) (int, http.Header, string) {
	t.Helper()
	hc := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", r.socket)
	}}}
	defer hc.CloseIdleConnections()
	req, err := http.NewRequestWithContext(r.ctx, method, "http://x"+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := hc.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, resp.Header, string(b)
}

func TestStatus(t *testing.T) {
	r := start(t, config(t))
	s, err := r.Status(r.ctx)
	if err != nil {
		t.Fatal(err)
	}
	if s.Version != "1.2.3" || s.PID != os.Getpid() || s.ConfigFile != "/etc/weir.yaml" || s.Services != 2 || s.Backends != 3 {
		t.Errorf("status %+v", s)
	}
	if s.ConfigLoaded.IsZero() || s.Started.IsZero() || s.DataPlane.Attachments[0].LinkID != 7 || s.Flows.Slots == 0 {
		t.Errorf("status %+v", s)
	}
	if got := s.Totals; got.Active != 9 || got.Packets != 458 || got.Dropped != 3 || got.Passed != 12 || got.Unstored != 2 {
		t.Errorf("totals %+v", got)
	}
	want := []lb.ReasonCount{{Reason: "not_vip", Verdict: "pass", Packets: 12}, {Reason: "truncated", Verdict: "drop", Packets: 3}}
	if !slices.Equal(s.Reasons, want) {
		t.Errorf("reasons %v, want %v", s.Reasons, want)
	}
	if len(s.Warnings) != 0 {
		t.Errorf("warnings %q", s.Warnings)
	}
}

func TestStartingAnswers503(t *testing.T) {
	r := prepare(t, config(t))
	status, header, body := r.raw(t, "GET", "/v1/status", "")
	if status != 503 || header.Get("Retry-After") == "" || !strings.Contains(body, `{"error":"the daemon is starting`) {
		t.Errorf("before the first Apply: %d %v %s", status, header, body)
	}
}

func TestWarnings(t *testing.T) {
	cfg := config(t)
	r := start(t, cfg)
	conf := filepath.Join(r.procSys, "net/ipv4/conf/eth0")
	if err := os.MkdirAll(conf, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(conf, "forwarding"), []byte("0\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	r.hops.Forget(ep2.Addr())
	if err := r.data.Await(r.ctx, func() bool { return !r.control.Snapshot().Hop(ep2.Addr()).Resolved() || r.data.Applies() > 1 }); err != nil {
		t.Fatal(err)
	}
	if err := r.Drain(r.ctx, "dns", ep6, wire.Term{}); err != nil {
		t.Fatal(err)
	}
	s, err := r.Status(r.ctx)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"forwarding is off on eth0, so replies of nat services are dropped: sysctl -w net/ipv4/conf/eth0/forwarding=1",
		"backend web/10.0.0.12:80 has no next hop: neighbour 10.0.0.12 does not answer",
		"service dns ([2001:db8::1]:53/udp) has no backend that takes new flows",
	}
	if !slices.Equal(s.Warnings, want) {
		t.Errorf("warnings\n%q\nwant\n%q", s.Warnings, want)
	}
}

func TestServices(t *testing.T) {
	r := start(t, config(t))
	got, err := r.Services(r.ctx)
	if err != nil {
		t.Fatal(err)
	}
	want := []wire.Service{
		{Name: "web", VIP: web, Forward: lb.NAT, Pool: "web", Algorithm: "maglev", Backends: 2, Taking: 2,
			Traffic: wire.Traffic{Active: 9, Flows: 46, Packets: 451, Bytes: 40560, ReplyPackets: 90, ReplyBytes: 80000}},
		{Name: "dns", VIP: dns, Forward: lb.DSR, Pool: "dns", Algorithm: "round_robin", Backends: 1, Taking: 1,
			Traffic: wire.Traffic{Unstored: 2, Packets: 7, Bytes: 700}},
	}
	if !slices.Equal(got, want) {
		t.Errorf("services\n%+v\nwant\n%+v", got, want)
	}
}

func TestBackends(t *testing.T) {
	r := start(t, config(t))
	if err := r.SetWeight(r.ctx, "web", ep1, 9, wire.Term{}); err != nil {
		t.Fatal(err)
	}
	if err := r.Drain(r.ctx, "dns", ep6, wire.Term{}); err != nil {
		t.Fatal(err)
	}
	all, err := r.Backends(r.ctx)
	if err != nil {
		t.Fatal(err)
	}
	if len(all) != 4 {
		t.Fatalf("%d backends, want 3 and a retired one: %+v", len(all), all)
	}
	if b := all[0]; b.Pool != "web" || b.Backend != ep1 || b.State != wire.StateReady || b.Weight != 1 || b.Effective != 9 ||
		b.Share != 0.75 || b.Override != "weight 9" || !b.Resolved || b.MAC != "02:00:00:00:00:0b" || b.Packets != 100 {
		t.Errorf("overridden backend %+v", b)
	}
	if b := all[2]; b.State != wire.StateDrained || b.Override != "drain" || b.Share != 0 || b.Unstored != 2 {
		t.Errorf("drained backend %+v", b)
	}
	if b := all[3]; b.State != wire.StateRetired || b.Backend != gone || b.Pool != "web" || b.Active != 1 || len(b.Services) != 2 {
		t.Errorf("retired backend %+v", b)
	}
	if err := r.Ready(r.ctx, "dns", ep6); err != nil {
		t.Fatal(err)
	}
	if all, _ = r.Backends(r.ctx); all[2].State != wire.StateReady || all[2].Override != "" || all[2].Share != 1 {
		t.Errorf("backend made ready %+v", all[2])
	}
}

func TestRefusals(t *testing.T) {
	r := start(t, config(t))
	r.load = func() (lb.Config, error) { return lb.Config{}, errors.New("weir.yaml:7: pools.web: unknown key") }
	big := `{"weight":1` + strings.Repeat(" ", 65<<10) + `}`
	for _, tc := range []struct {
		method, path, body string
		status             int
		want               string
	}{
		{"GET", "/v1/nothing", "", 404, "path /v1/nothing does not exist"},
		{"GET", "/", "", 404, "path / does not exist"},
		{"POST", "/v1/status", "", 405, "method POST is not allowed on /v1/status; use GET"},
		{"GET", "/v1/reload", "", 405, "use POST"},
		{"POST", "/v1/backends/web/10.0.0.11:80/weight", `{"weight":1,"x":2}`, 400, `unknown field`},
		{"POST", "/v1/backends/web/10.0.0.11:80/weight", `{"weight":1} {}`, 400, "data after the JSON value"},
		{"POST", "/v1/backends/web/10.0.0.11:80/weight", `{"weight":-1}`, 400, "number -1"},
		{"POST", "/v1/backends/web/10.0.0.11:80/weight", `{"weight":1.5}`, 400, "number 1.5"},
		{"POST", "/v1/backends/web/10.0.0.11:80/weight", `{}`, 400, "needs a weight"},
		{"POST", "/v1/backends/web/10.0.0.11:80/weight", ``, 400, "EOF"},
		{"POST", "/v1/backends/web/10.0.0.11:80/weight", big, 413, "too large"},
		{"POST", "/v1/backends/web/10.0.0.11:80/weight", `{"weight":1001}`, 422, "weight 1001 is above 1000"},
		{"POST", "/v1/backends/web/10.0.0.11:80/drain", `{"weight":1}`, 400, "unknown field"},
		{"POST", "/v1/backends/web/10.0.0.11:80/drain", `{"for":"soon"}`, 400, "is not a duration from 1s to 8760h0m0s"},
		{"POST", "/v1/backends/web/10.0.0.11:80/drain", `{"for":"-5m"}`, 400, "is not a duration"},
		{"POST", "/v1/backends/web/10.0.0.11:80/weight", `{"weight":1,"reason":"a\nb"}`, 422, "is not one line of text"},
		{"POST", "/v1/backends/web/10.0.0.11:80/weight", `{"weight":1,"reason":"` + strings.Repeat("x", 201) + `"}`, 422, "has 201 bytes; it has at most 200"},
		{"GET", "/v1/weights?pool=nope", "", 404, `pool \"nope\" does not exist; there are: web, dns`},
		{"GET", "/v1/weights?pol=web", "", 400, `parameter \"pol\" does not exist`},
		{"GET", "/v1/weights/web/10.0.0.13:80", "", 404, "pool web has no backend 10.0.0.13:80"},
		{"POST", "/v1/backends/web/10.0.0.11/drain", ``, 400, `backend \"10.0.0.11\" is not ADDRESS:PORT`},
		{"POST", "/v1/backends/web/10.0.0.13:80/drain", ``, 404, "pool web has no backend 10.0.0.13:80"},
		{"POST", "/v1/backends/nope/10.0.0.11:80/ready", ``, 404, `pool \"nope\" does not exist; there are: web, dns`},
		{"POST", "/v1/reload", "", 422, "weir.yaml:7: pools.web: unknown key"},
		{"GET", "/v1/flows?limit=0", "", 400, `limit \"0\" is not a number from 1`},
		{"GET", "/v1/flows?src=1.2.3.4:5", "", 400, "src and dst go together"},
		{"GET", "/v1/flows?src=1.2.3.4:5&dst=[::1]:2", "", 400, "two address families"},
		{"GET", "/v1/flows?source=x", "", 400, `parameter \"source\" does not exist`},
		{"GET", "/v1/events?sevice=x", "", 400, `parameter \"sevice\" does not exist`},
	} {
		status, header, body := r.raw(t, tc.method, tc.path, tc.body)
		if status != tc.status || !strings.HasPrefix(body, `{"error":"`) || !strings.Contains(body, tc.want) || header.Get("Content-Type") != "application/json" {
			t.Errorf("%s %s %.40s = %d %s, want %d %s", tc.method, tc.path, tc.body, status, body, tc.status, tc.want)
		}
	}
	if n := len(r.control.Snapshot().Overrides); n != 0 {
		t.Errorf("%d overrides after refusals only", n)
	}
}

func TestFlows(t *testing.T) {
	r := start(t, config(t))
	key := lb.FlowKey{Src: netip.MustParseAddrPort("198.51.100.1:1000"), Dst: netip.MustParseAddrPort("192.0.2.1:80"), Proto: lb.TCP}
	r.data.AddFlow(key, lb.Flow{Set: 1, State: "established", VIP: web, Endpoint: ep1, ID: 1})
	key2 := lb.FlowKey{Src: netip.MustParseAddrPort("[2001:db8::f]:1"), Dst: netip.MustParseAddrPort("[2001:db8::1]:53"), Proto: lb.UDP}
	r.data.AddFlow(key2, lb.Flow{Set: 2, State: "udp", VIP: dns, Endpoint: ep6, ID: 4})
	for _, tc := range []struct {
		name      string
		query     client.FlowQuery
		want      []uint32 // backend ids
		truncated bool
	}{
		{"all", client.FlowQuery{}, []uint32{1, 4}, false},
		{"limit", client.FlowQuery{Limit: 1}, []uint32{1}, true},
		{"backend", client.FlowQuery{Backend: "[2001:db8::13]:53"}, []uint32{4}, false},
		{"backend without port", client.FlowQuery{Backend: "10.0.0.11"}, []uint32{1}, false},
		{"one", client.FlowQuery{Src: key.Src, Dst: key.Dst, Proto: lb.TCP}, []uint32{1}, false},
		{"one v6", client.FlowQuery{Src: key2.Src, Dst: key2.Dst, Proto: lb.UDP}, []uint32{4}, false},
		{"none", client.FlowQuery{Src: key.Src, Dst: key.Dst, Proto: lb.UDP}, nil, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := r.Flows(r.ctx, tc.query)
			if err != nil {
				t.Fatal(err)
			}
			var ids []uint32
			for _, f := range got.Flows {
				ids = append(ids, f.ID)
				if f.Service == "" || f.Service != f.Pool {
					t.Errorf("flow of service %q and pool %q", f.Service, f.Pool)
				}
			}
			if !slices.Equal(ids, tc.want) || got.Truncated != tc.truncated {
				t.Errorf("ids %v, truncated %v; want %v, %v", ids, got.Truncated, tc.want, tc.truncated)
			}
		})
	}
}

func TestEvents(t *testing.T) {
	r := start(t, config(t))
	got := make(chan lb.Event, 10)
	ended := make(chan error, 1)
	go func() {
		ended <- r.Events(r.ctx, client.EventFilter{Service: "web", Reason: "truncated", Kind: "drop"}, func(e lb.Event) bool {
			got <- e
			return len(got) < 2
		})
	}()
	if err := r.data.Await(r.ctx, func() bool { return slices.Equal(r.data.Samples(), []uint32{1}) }); err != nil {
		t.Fatal(err)
	}
	for _, e := range []lb.Event{
		{Kind: "drop", Reason: "truncated", VIP: web.String(), Length: 1},
		{Kind: "drop", Reason: "other", VIP: web.String(), Length: 2},
		{Kind: "drop", Reason: "truncated", VIP: dns.String(), Length: 3},
		{Kind: "flow-new", Reason: "truncated", VIP: web.String(), Length: 4},
		{Kind: "lost", Length: 5},
	} {
		if err := r.data.Emit(r.ctx, e); err != nil {
			t.Fatal(err)
		}
	}
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	if a, b := <-got, <-got; a.Length != 1 || b.Length != 5 {
		t.Errorf("events %+v and %+v, want the first and the last", a, b)
	}
	if err := r.data.Await(r.ctx, func() bool { return slices.Equal(r.data.Samples(), []uint32{0}) }); err != nil {
		t.Errorf("the kernel stream goes on after the last listener: %v", err)
	}
}

func TestStopEndsEventStreams(t *testing.T) {
	r := start(t, config(t))
	ended := make(chan error, 1)
	go func() {
		ended <- r.Events(r.ctx, client.EventFilter{}, func(lb.Event) bool { return true })
	}()
	if err := r.data.Await(r.ctx, func() bool { return slices.Equal(r.data.Samples(), []uint32{1}) }); err != nil {
		t.Fatal(err)
	}
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err == nil || !strings.Contains(err.Error(), "the daemon has stopped") {
		t.Errorf("Events = %v", err)
	}
	if _, err := os.Lstat(r.socket); !os.IsNotExist(err) {
		t.Errorf("the socket is left behind: %v", err)
	}
	var none *client.NoDaemonError
	if _, err := r.Status(r.ctx); !errors.As(err, &none) || none.Socket != r.socket {
		t.Errorf("Status = %v", err)
	}
}

func TestMetrics(t *testing.T) {
	r := start(t, config(t))
	if err := r.SetWeight(r.ctx, "web", ep1, 2, wire.Term{}); err != nil {
		t.Fatal(err)
	}
	if err := r.Reload(r.ctx); err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := r.Metrics(r.ctx, &b); err != nil {
		t.Fatal(err)
	}
	var lines []string
	for s := bufio.NewScanner(&b); s.Scan(); {
		lines = append(lines, s.Text())
	}
	for _, want := range []string{
		`weir_backend_packets_total{backend="10.0.0.11:80",pool="web",service="web",vip="192.0.2.1:80/tcp"} 100`,
		`weir_backend_bytes_total{backend="10.0.0.12:80",pool="web",service="web",vip="192.0.2.1:80/tcp"} 27000`,
		`weir_backend_flows_total{backend="10.0.0.99:80",pool="web",service="web",vip="192.0.2.1:80/tcp"} 6`,
		`weir_backend_active_flows{backend="10.0.0.12:80",pool="web",service="web",vip="192.0.2.1:80/tcp"} 6`,
		`weir_backend_unstored_packets_total{backend="[2001:db8::13]:53",pool="dns",service="dns",vip="[2001:db8::1]:53/udp"} 2`,
		`weir_backend_weight{backend="10.0.0.11:80",kind="configured",pool="web"} 1`,
		`weir_backend_weight{backend="10.0.0.11:80",kind="effective",pool="web"} 2`,
		`weir_packets_total{reason="truncated",verdict="drop"} 3`,
		`weir_packets_total{reason="no_backend",verdict="drop"} 0`,
		`weir_flow_table_slots 1.048576e+06`,
		`weir_config_reloads_total{result="loaded"} 1`,
		`weir_config_reloads_total{result="refused"} 0`,
		`weir_apply_seconds_count 2`,
	} {
		if !slices.Contains(lines, want) {
			t.Errorf("no line %s", want)
		}
	}
	if !slices.ContainsFunc(lines, func(l string) bool { return strings.HasPrefix(l, `weir_build_info{goversion="go1`) }) {
		t.Error("no weir_build_info")
	}
}

func TestHandlerNeedsNoSocket(t *testing.T) {
	r := start(t, config(t))
	h := api.New(api.Options{Control: r.control, DataPlane: r.data}).Handler()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest("GET", "/v1/backends", nil))
	var b wire.Backends
	if err := json.Unmarshal(w.Body.Bytes(), &b); err != nil || w.Code != 200 || len(b.Backends) != 4 {
		t.Errorf("%d %s: %v", w.Code, w.Body, err)
	}
}
