// Command l4bench measures what the packet path costs for a packet, against
// what one look-up in an LRU hash keyed by the 5-tuple costs: the yardstick.
//
// Every figure is net: the same run's cost of a program that answers at once
// is taken off. Programs run over live frames into one end of a veth pair, the
// kernel's own run-time statistics tell the time.
//
// JSON=1 prints one object a line. FAMILY=6 measures IPv6 instead of IPv4.
// FORWARD names the forwarding modes, "all" for every one; the default is
// dsr,nat. With all, new flows are measured with least connection too.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"text/tabwriter"
)

// line is one result. Times are nanoseconds of CPU for a packet, medians over
// the rounds; ratio is the median of the rounds' ratios.
type line struct {
	Case        string  `json:"case"`
	Forward     string  `json:"forward"`
	Family      int     `json:"family,omitempty"` // 4 unless it says 6
	Flows       int     `json:"flows"`
	NetNS       float64 `json:"net_ns"`
	YardstickNS float64 `json:"yardstick_ns"`
	Ratio       float64 `json:"ratio"`
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "l4bench:", err)
		os.Exit(1)
	}
}

func run() error {
	report := printTable()
	if os.Getenv("JSON") != "" {
		encoder := json.NewEncoder(os.Stdout)
		report = func(l line) error { return encoder.Encode(l) }
	}
	return inLab(func(l *lab) error { return measureAll(l, report) })
}

// printTable prints aligned lines as they come.
func printTable() func(line) error {
	w := tabwriter.NewWriter(os.Stdout, 12, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "case\tforward\tflows\tnet ns\tyardstick ns\tratio\t")
	return func(l line) error {
		fmt.Fprintf(w, "%s\t%s\t%d\t%.1f\t%.1f\t%.2f\t\n", l.Case, l.Forward, l.Flows, l.NetNS, l.YardstickNS, l.Ratio)
		return w.Flush()
	}
}

func median(v []float64) float64 {
	v = slices.Sorted(slices.Values(v))
	return v[len(v)/2]
}
