// Command l4bench measures what the packet path costs for a packet, against
// what one look-up in an LRU hash keyed by the 5-tuple costs: the yardstick.
//
// Every figure is net: the same round's cost of a program that answers at once
// is taken off. Programs run over live frames into one end of a veth pair, the
// kernel's own run-time statistics tell the time. Last comes what the maps
// weigh, and which bars are held.
//
// JSON=1 prints one object a line, and the bars on standard error. FORWARD
// names forwarding modes, with commas between them, and FAMILY is 4 or 6;
// without, all are measured.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"weir/loader/lb"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "l4bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	choice, err := choose(os.Getenv("FORWARD"), os.Getenv("FAMILY"))
	if err != nil {
		return err
	}
	out, bars := tableOf(os.Stdout), os.Stdout
	if os.Getenv("JSON") != "" {
		out, bars = jsonOf(os.Stdout), os.Stderr
	}
	var all []line
	report := func(l line) error {
		all = append(all, l)
		return out(l)
	}
	for _, family := range choice.families {
		err := inLab(ctx, func(l *lab) error { return l.measureFamily(family, choice.forwards, report) })
		if err != nil {
			return fmt.Errorf("over IPv%d: %w", family, err)
		}
	}
	return judge(bars, all)
}

// choice is what to measure.
type choice struct {
	forwards []lb.Forward
	families []int
}

func choose(forwards, family string) (c choice, err error) {
	switch family {
	case "", "all":
		c.families = []int{4, 6}
	case "4":
		c.families = []int{4}
	case "6":
		c.families = []int{6}
	default:
		return c, fmt.Errorf("FAMILY is %q, not 4, 6 or all", family)
	}
	if forwards == "" || forwards == "all" {
		c.forwards = []lb.Forward{lb.DSR, lb.NAT, lb.IPIP, lb.GUE, lb.SNAT}
		return c, nil
	}
	for name := range strings.SplitSeq(forwards, ",") {
		f, err := lb.ParseForward(name)
		if err == nil && f == lb.L7 {
			err = errors.New("l7 forwards nothing")
		}
		if err != nil {
			return c, fmt.Errorf("FORWARD: %w", err)
		}
		c.forwards = append(c.forwards, f)
	}
	return c, nil
}

type reporter func(line) error

func jsonOf(w io.Writer) reporter {
	encoder := json.NewEncoder(w)
	return func(l line) error { return encoder.Encode(l) }
}
