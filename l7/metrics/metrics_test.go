package metrics

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/expfmt"

	"weir/l7/exchange"
)

func exposition(t *testing.T, m *Metrics) string {
	t.Helper()
	r := prometheus.NewPedanticRegistry()
	r.MustRegister(m)
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, f := range families {
		if _, err := expfmt.MetricFamilyToText(&b, f); err != nil {
			t.Fatal(err)
		}
	}
	return b.String()
}

func TestMetrics(t *testing.T) {
	m := New()
	m.Keep([]string{"app", "old"}, []string{"web"})
	began := time.Now()
	x := &exchange.Exchange{Route: "app", Pool: "web", Attempts: 3, Began: began, Sent: 10, Received: 4, Cut: errors.New("gone")}
	x.Response.Status = 200
	m.Answered(x, began.Add(30*time.Millisecond))
	m.Ended(x, began.Add(200*time.Millisecond))
	none := &exchange.Exchange{Began: began}
	none.Response.Status = 404
	m.Answered(none, began)
	m.Ended(none, began)
	gone := &exchange.Exchange{Route: "gone", Pool: "gone", Began: began}
	m.Answered(gone, began)
	m.Ended(gone, began)
	text := exposition(t, m)
	for _, want := range []string{
		`weir_http_requests_total{code="2xx",route="app"} 1`, `weir_http_requests_total{code="4xx",route=""} 1`,
		`weir_http_requests_total{code="2xx",route="old"} 0`, `weir_http_sent_bytes_total{route="app"} 10`,
		`weir_http_received_bytes_total{route="app"} 4`, `weir_http_cut_total{route="app"} 1`,
		`weir_http_request_seconds_bucket{route="app",le="0.25"} 1`, `weir_http_request_seconds_bucket{route="app",le="0.1"} 0`,
		`weir_http_pool_requests_total{code="2xx",pool="web"} 1`, `weir_http_pool_retries_total{pool="web"} 2`,
		`weir_http_pool_answer_seconds_bucket{pool="web",le="0.05"} 1`,
	} {
		if !strings.Contains(text, want+"\n") {
			t.Errorf("no %s in\n%s", want, text)
		}
	}
	m.Keep([]string{"app"}, nil)
	text = exposition(t, m)
	if strings.Contains(text, `"old"`) || strings.Contains(text, `"web"`) || !strings.Contains(text, `weir_http_requests_total{code="2xx",route="app"} 1`) {
		t.Errorf("after a reload:\n%s", text)
	}
}

func TestClass(t *testing.T) {
	for status, want := range map[int]string{0: "1xx", 101: "1xx", 200: "2xx", 308: "3xx", 499: "4xx", 599: "5xx", 999: "5xx"} {
		if got := classNames[class(status)]; got != want {
			t.Errorf("%d is %s", status, got)
		}
	}
}

func TestNoAllocations(t *testing.T) {
	m := New()
	m.Keep([]string{"app"}, []string{"web"})
	x := &exchange.Exchange{Route: "app", Pool: "web", Began: time.Now(), Sent: 1}
	if n := testing.AllocsPerRun(100, func() { m.Answered(x, x.Began); m.Ended(x, x.Began) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
