package suites

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os/exec"
	"testing"

	"weir/loader/lb"
	"weir/vm-tests/guest"
)

// TestDemo: the real daemon carries real HTTP, not one request fails, and each
// backend gets its share. A short run takes one combination.
func TestDemo(t *testing.T) {
	for _, forward := range []lb.Forward{lb.NAT, lb.SNAT, lb.DSR, lb.IPIP, lb.GUE} {
		for _, family := range []int{4, 6} {
			t.Run(fmt.Sprintf("%s-%d", forward, family), func(t *testing.T) { demo(t, forward, family) })
			if testing.Short() {
				return
			}
		}
	}
}

// result is what of the demo's report this test looks at.
type result struct {
	Requests uint64  `json:"requests"`
	Failed   uint64  `json:"failed"`
	RPS      float64 `json:"rps"`
	XDPMode  string  `json:"xdp_mode"`
	Backends []struct {
		Address       string  `json:"address"`
		Connections   float64 `json:"connections"`
		Share         float64 `json:"share"`
		ExpectedShare float64 `json:"expected_share"`
	} `json:"backends"`
}

// leastRequests is a few: virtual machines without KVM are slow.
const leastRequests = 50

// shareBound is what chance allows a share to be off: five standard deviations
// of n connections that pick this backend with probability p.
func shareBound(p, n float64) float64 { return 5 * math.Sqrt(p*(1-p)/n) }

func demo(t *testing.T, forward lb.Forward, family int) {
	out, err := exec.Command(guest.Weir, "demo", "--duration", "5s", "--json",
		"--forward", forward.String(), "--family", fmt.Sprint(family)).Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		t.Fatalf("weir demo: %v: %s", err, exit.Stderr)
	}
	if err != nil {
		t.Fatal(err)
	}
	var r result
	if err := json.Unmarshal(out, &r); err != nil {
		t.Fatalf("%v in %q", err, out)
	}
	t.Logf("%s", out)
	if r.Failed != 0 || r.Requests < leastRequests || r.XDPMode != "native" {
		t.Errorf("%d of %d requests failed, XDP mode %s; want 0 of %d or more, native", r.Failed, r.Requests, r.XDPMode, leastRequests)
	}
	connections := 0.0
	for _, b := range r.Backends {
		connections += b.Connections
	}
	for _, b := range r.Backends {
		if math.Abs(b.Share-b.ExpectedShare) > shareBound(b.ExpectedShare, connections) {
			t.Errorf("%s got %.3f of %.0f connections, want %.3f", b.Address, b.Share, connections, b.ExpectedShare)
		}
	}
}
