package main

import (
	"fmt"
	"io"
	"slices"
	"text/tabwriter"

	"weir/loader/lb"
)

// Cases.
const (
	established = "established"
	syn         = "syn"
	synLeast    = "syn_least_conn"
	memory      = "memory"
)

// line is one result. Times are nanoseconds of CPU for a packet, medians over
// the rounds; ratio is the median of the rounds' ratios. Bytes are what the
// maps weigh.
type line struct {
	Case        string  `json:"case"`
	Forward     string  `json:"forward"`
	Flows       int     `json:"flows"`
	NetNS       float64 `json:"net_ns,omitempty"`
	YardstickNS float64 `json:"yardstick_ns,omitempty"`
	Ratio       float64 `json:"ratio,omitempty"`
	Family      int     `json:"family"`
	Algorithm   string  `json:"algorithm"`
	Backends    int     `json:"backends"`
	Bytes       uint64  `json:"bytes,omitempty"`
}

func (l line) String() string {
	s := fmt.Sprintf("%s %s IPv%d, %d flows", l.Case, l.Forward, l.Family, l.Flows)
	if l.Case == synLeast {
		s += fmt.Sprintf(", %d backends", l.Backends)
	}
	return s
}

// rounds is what was measured of one subject.
type rounds struct{ net, yardstick, ratio []float64 }

func (r *rounds) add(net, yardstick float64) {
	r.net, r.yardstick = append(r.net, net), append(r.yardstick, yardstick)
	r.ratio = append(r.ratio, net/yardstick)
}

func (r *rounds) line(name string, s *subject, flows int) line {
	return line{
		Case: name, Forward: s.forward.String(), Family: s.family, Flows: flows,
		Algorithm: s.algorithm.String(), Backends: s.backends,
		NetNS: median(r.net), YardstickNS: median(r.yardstick), Ratio: median(r.ratio),
	}
}

func median(v []float64) float64 {
	v = slices.Sorted(slices.Values(v))
	return v[len(v)/2]
}

// tableOf prints aligned lines as they come.
func tableOf(out io.Writer) reporter {
	w := tabwriter.NewWriter(out, 15, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "case\tforward\tfamily\tflows\tnet ns\tyardstick ns\tratio\t")
	return func(l line) error {
		name := l.Case
		if l.Case == synLeast {
			name += fmt.Sprint("_", l.Backends)
		}
		fmt.Fprintf(w, "%s\t%s\t%d\t%d\t", name, l.Forward, l.Family, l.Flows)
		if l.Case == memory {
			fmt.Fprintf(w, "%.1f MB\t\t\t\n", float64(l.Bytes)/1e6)
		} else {
			fmt.Fprintf(w, "%.1f\t%.1f\t%.2f\t\n", l.NetNS, l.YardstickNS, l.Ratio)
		}
		return w.Flush()
	}
}

// bar is the most that a line may say, 0 if there is none: ratios, or bytes.
func (l line) bar() float64 {
	nat := l.Forward == lb.NAT.String() || l.Forward == lb.SNAT.String()
	switch {
	case l.Case == memory && l.Forward != lb.SNAT.String():
		return 32e6
	case l.Case == synLeast:
		return 1.2
	case l.Case == syn && l.Forward != lb.SNAT.String():
		return 1
	case l.Case != established || l.Flows < 1000:
		return 0
	case nat && l.Flows == 1000:
		return 1.6
	case l.Forward == lb.NAT.String():
		return 0.9
	case nat:
		return 1
	case l.Flows == 1000:
		return 1.3
	}
	return 0.75
}

// measured is what the bar is about.
func (l line) measured() float64 {
	if l.Case == memory {
		return float64(l.Bytes)
	}
	return l.Ratio
}

// judge says which bars are held.
func judge(out io.Writer, all []line) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "\nbar\tat most\tmeasured\t")
	held, of := 0, 0
	for _, l := range all {
		bar, verdict := l.bar(), "missed"
		if bar == 0 {
			continue
		}
		of++
		if l.measured() <= bar {
			held++
			verdict = "held"
		}
		fmt.Fprintf(w, "%s\t%.3g\t%.3g\t%s\n", l, bar, l.measured(), verdict)
	}
	fmt.Fprintf(w, "%d of %d bars are held\n", held, of)
	return w.Flush()
}
