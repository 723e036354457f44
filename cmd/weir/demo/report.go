package demo

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/netip"
	"time"

	"weir/loader/lb"
)

// report is the result of a demo, as --json prints it.
type report struct {
	Requests  uint64           `json:"requests"`
	Failed    uint64           `json:"failed"`
	RPS       float64          `json:"rps"`
	P50       float64          `json:"p50_us"`
	P99       float64          `json:"p99_us"`
	XDPMode   string           `json:"xdp_mode"`
	Algorithm string           `json:"algorithm"` // as asked for
	Forward   string           `json:"forward"`
	Family    int              `json:"family"`
	Backends  []backendReport  `json:"backends"`
	Protocols []protocolReport `json:"protocols,omitempty"` // with --l7
}

// protocolReport is the part of one protocol.
type protocolReport struct {
	Protocol string `json:"protocol"`
	Requests uint64 `json:"requests"`
	Failed   uint64 `json:"failed"`
}

type backendReport struct {
	Address       netip.AddrPort `json:"address"`
	Weight        lb.Weight      `json:"weight"`
	Connections   uint64         `json:"connections"` // counted by the backend; with --l7 requests
	Share         float64        `json:"share"`
	ExpectedShare float64        `json:"expected_share"`
}

func newReport(opts options, xdpMode string, elapsed time.Duration, end sample, servers []*server) report {
	r := report{
		Requests:  end.requests,
		Failed:    end.failed,
		RPS:       round(perSecond(end.requests, elapsed), 1),
		P50:       microseconds(end.latency.quantile(0.50)),
		P99:       microseconds(end.latency.quantile(0.99)),
		XDPMode:   xdpMode,
		Algorithm: opts.algorithmName,
		Forward:   opts.mode(),
		Family:    opts.family,
	}
	shares, expected := end.shares(), expectedShares(opts.algorithm, opts.weights)
	for i, s := range servers {
		r.Backends = append(r.Backends, backendReport{
			Address:       s.endpoint,
			Weight:        s.weight,
			Connections:   end.accepted[i],
			Share:         round(shares[i], 4),
			ExpectedShare: round(expected[i], 4),
		})
	}
	return r
}

// farthest is the largest distance of a share from what was expected.
func (r report) farthest() float64 {
	d := 0.0
	for _, b := range r.Backends {
		d = max(d, math.Abs(b.Share-b.ExpectedShare))
	}
	return d
}

func (r report) writeJSON(w io.Writer) error {
	if err := json.NewEncoder(w).Encode(r); err != nil {
		return fmt.Errorf("writing the result: %w", err)
	}
	return nil
}

func (r report) String() string {
	text := fmt.Sprintf("%d requests, %d failed, %.0f per second, p50 %s, p99 %s", r.Requests, r.Failed, r.RPS, duration(r.P50), duration(r.P99))
	if r.Algorithm == resourceBased {
		return text // whose shares were to change
	}
	return text + fmt.Sprintf("; shares within %.3f of expected", r.farthest())
}

func microseconds(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }

func duration(us float64) time.Duration { return time.Duration(us * float64(time.Microsecond)) }

func round(x float64, digits int) float64 {
	unit := math.Pow(10, float64(digits))
	return math.Round(x*unit) / unit
}
