// Command l7bench measures what a request costs weir, nginx and HAProxy in CPU
// time of the proxy, all in one run: the proxy alone on one core, the load (wrk,
// h2load) and the origin on another, in a network namespace of its own.
//
// JSON=1 prints one object a line, and the bars on standard error. CASES names
// cases, with commas between them, SECONDS how long each of the ROUNDS (3)
// takes; the median counts.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// inside marks the process that has namespaces of its own.
const inside = "WEIR_L7BENCH_INSIDE"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	run := apart
	if os.Getenv(inside) != "" {
		run = measure
	}
	if err := run(ctx); err != nil {
		if exit := (*exec.ExitError)(nil); !errors.As(err, &exit) {
			fmt.Fprintln(os.Stderr, "l7bench:", err)
		}
		os.Exit(1)
	}
}

// apart runs this program again where its addresses, mounts and processes are
// its own, and gone when it ends.
func apart(ctx context.Context) error {
	for _, tool := range []string{"nginx", "haproxy", "wrk", "h2load", "taskset"} {
		if _, err := exec.LookPath(tool); err != nil {
			return fmt.Errorf("%s is not installed: `make bench-l7` installs what is needed", tool)
		}
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, self, os.Args[1:]...)
	cmd.Env = append(os.Environ(), inside+"=1")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = nil, os.Stdout, os.Stderr
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 20 * time.Second
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWNS | syscall.CLONE_NEWPID,
		Pdeathsig:  syscall.SIGKILL,
	}
	return cmd.Run()
}

// options are what the environment asks for.
type options struct {
	cases  []load
	each   time.Duration
	rounds int
}

func choose() (o options, err error) {
	o = options{cases: loads, each: 5 * time.Second, rounds: 3}
	if names := os.Getenv("CASES"); names != "" {
		o.cases = nil
		for name := range strings.SplitSeq(names, ",") {
			l, err := loadNamed(name)
			if err != nil {
				return o, err
			}
			o.cases = append(o.cases, l)
		}
	}
	if s := os.Getenv("SECONDS"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil || n < 1 || n > 60 {
			return o, fmt.Errorf("SECONDS is %q, not 1 to 60", s)
		}
		o.each = time.Duration(n) * time.Second
	}
	if s := os.Getenv("ROUNDS"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil || n < 1 || n > 99 {
			return o, fmt.Errorf("ROUNDS is %q, not 1 to 99", s)
		}
		o.rounds = n
	}
	return o, nil
}

// measure runs in the namespaces.
func measure(ctx context.Context) (err error) {
	o, err := choose()
	if err != nil {
		return err
	}
	lab, err := newLab(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, lab.close()) }()
	out := printer()
	var all []result
	for _, l := range o.cases {
		r, err := lab.compare(ctx, l, o)
		if err != nil {
			return fmt.Errorf("%s: %w", l.name, err)
		}
		all = append(all, r)
		out.result(r)
	}
	return out.bars(all)
}
