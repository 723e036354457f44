package demo

import (
	"fmt"
	"strings"
	"text/tabwriter"
	"time"
)

// frame is what the live table shows at one moment.
type frame struct {
	title    string
	elapsed  time.Duration
	total    sample
	recent   sample // the last second or so
	window   time.Duration
	servers  []*server
	weights  []string  // as the daemon has them
	expected []float64 // for new connections, now
}

func (f frame) summary() string {
	return fmt.Sprintf("%5.1fs  %.0f requests/s  failed %d  p50 %s  p99 %s",
		f.elapsed.Seconds(), perSecond(f.recent.requests, f.window), f.total.failed,
		f.recent.latency.quantile(0.50), f.recent.latency.quantile(0.99))
}

// table is the frame for a terminal.
func (f frame) table() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n%s\n\n", f.title, f.summary())
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "BACKEND\tWEIGHT\tCONNECTIONS\tPER SECOND\tSHARE\tSHARE NOW\tEXPECTED\tACTIVE\t")
	total, recent := f.total.shares(), f.recent.shares()
	for i, s := range f.servers {
		fmt.Fprintf(w, "%s\t%s\t%d\t%.0f\t%.3f\t%.3f\t%.3f\t%d\t\n", s.endpoint, f.weights[i], f.total.accepted[i],
			perSecond(f.recent.accepted[i], f.window), total[i], recent[i], f.expected[i], s.active.Load())
	}
	w.Flush()
	return b.String()
}

// line is the frame for a file or a pipe.
func (f frame) line() string {
	return f.summary() + "  shares" + joined(f.recent.shares()) + "  expected" + joined(f.expected)
}

func joined(shares []float64) string {
	var b strings.Builder
	for _, s := range shares {
		fmt.Fprintf(&b, " %.3f", s)
	}
	return b.String()
}
