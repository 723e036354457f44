package demo

import (
	"bytes"
	"net/netip"
	"strings"
	"testing"
	"time"

	"weir/loader/lb"
)

func testServers() []*server {
	return []*server{
		{endpoint: netip.MustParseAddrPort("10.80.0.10:8080"), weight: 3},
		{endpoint: netip.MustParseAddrPort("10.80.0.11:8080"), weight: 1},
	}
}

func testSample(requests uint64, accepted ...uint64) sample {
	var h histogram
	for us := range 20 {
		h.add(time.Duration(us) * time.Microsecond)
	}
	return sample{requests: requests, latency: h.read(), accepted: accepted}
}

func testOptions() options {
	return options{weights: []lb.Weight{3, 1}, algorithm: lb.WeightedRoundRobin, algorithmName: "wrr", forward: lb.DSR, family: 6}
}

func TestReportJSON(t *testing.T) {
	r := newReport(testOptions(), "native", 2*time.Second, testSample(3000, 740, 260), testServers())
	var b bytes.Buffer
	if err := r.writeJSON(&b); err != nil {
		t.Fatal(err)
	}
	want := `{"requests":3000,"failed":0,"rps":1500,"p50_us":10,"p99_us":19,"xdp_mode":"native","algorithm":"wrr",` +
		`"forward":"dsr","family":6,"backends":[` +
		`{"address":"10.80.0.10:8080","weight":3,"connections":740,"share":0.74,"expected_share":0.75},` +
		`{"address":"10.80.0.11:8080","weight":1,"connections":260,"share":0.26,"expected_share":0.25}]}` + "\n"
	if b.String() != want {
		t.Errorf("got  %s\nwant %s", b.String(), want)
	}
	if d := r.farthest(); d < 0.0099 || d > 0.0101 {
		t.Errorf("farthest share is off by %v, want 0.01", d)
	}
}

func testFrame() frame {
	return frame{title: "title", elapsed: 3 * time.Second, total: testSample(3000, 740, 260), recent: testSample(400, 75, 25),
		window: 500 * time.Millisecond, servers: testServers(), weights: []string{"3", "1"}, expected: []float64{.75, .25}}
}

func TestTable(t *testing.T) {
	want := `title
  3.0s  800 requests/s  failed 0  p50 10µs  p99 19µs

          BACKEND  WEIGHT  CONNECTIONS  PER SECOND  SHARE  SHARE NOW  EXPECTED  ACTIVE
  10.80.0.10:8080       3          740         150  0.740      0.750     0.750       0
  10.80.0.11:8080       1          260          50  0.260      0.250     0.250       0
`
	if got := testFrame().table(); got != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
}

func TestScreenRedrawsOverItsTable(t *testing.T) {
	var b strings.Builder
	s := &screen{out: &b, live: true}
	for range 2 {
		if err := s.show(testFrame()); err != nil {
			t.Fatal(err)
		}
	}
	table := testFrame().table()
	if want := table + "\x1b[6A\x1b[J" + table; b.String() != want {
		t.Errorf("got %q, want %q", b.String(), want)
	}
}

func TestScreenWritesLinesWithoutTerminal(t *testing.T) {
	var stdout, stderr strings.Builder
	s := newScreen(options{json: true}, &stdout, &stderr)
	if err := s.show(testFrame()); err != nil {
		t.Fatal(err)
	}
	want := "  3.0s  800 requests/s  failed 0  p50 10µs  p99 19µs  shares 0.750 0.250  expected 0.750 0.250\n"
	if stderr.String() != want || stdout.Len() > 0 {
		t.Errorf("stderr %q, want %q; stdout %q, want nothing", stderr.String(), want, stdout.String())
	}
}
