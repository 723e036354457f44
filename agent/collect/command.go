package collect

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"

	"weir/agent/report"
)

const (
	maxOutput   = 4096 // bytes of a command's output
	killedAfter = time.Second
)

// Command runs a program that prints one number.
type Command struct {
	metric  string
	argv    []string
	timeout time.Duration
	counter *counters[string] // nil: the number is the value
}

// NewCommand makes the collector of custom.NAME. A counter's value is what it
// rose by per second. The program and what it started are killed after
// timeout.
func NewCommand(name string, argv []string, counter bool, timeout time.Duration) *Command {
	c := &Command{metric: report.Custom + name, argv: argv, timeout: timeout}
	if counter {
		c.counter = &counters[string]{}
	}
	return c
}

// Name is the metric's.
func (c *Command) Name() string { return c.metric }

// Collect runs the command.
func (c *Command) Collect(ctx context.Context, now time.Time) (map[string]float64, error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	var out limited
	cmd := exec.CommandContext(ctx, c.argv[0], c.argv[1:]...)
	cmd.Dir = "/"
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C"}
	cmd.Stdout = &out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = killedAfter
	err := cmd.Run()
	if out.over { // also told by how the program died of it
		return nil, fmt.Errorf("%s: %w", c.argv[0], errOutput)
	}
	if err != nil {
		if ctx.Err() != nil {
			return nil, fmt.Errorf("%s: no end after %s", c.argv[0], c.timeout)
		}
		return nil, fmt.Errorf("%s: %w", c.argv[0], err)
	}
	text := strings.TrimSpace(out.buffer.String())
	v, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return nil, fmt.Errorf("%s printed %.40q, not one number", c.argv[0], text)
	}
	return perSecond(c.counter, now, map[string]float64{c.metric: v}), nil
}

// perSecond is values as they are, or what counters rose by.
func perSecond(c *counters[string], now time.Time, values map[string]float64) map[string]float64 {
	if c == nil {
		return values
	}
	rose, seconds := c.rise(now, values)
	for metric := range rose {
		rose[metric] /= seconds
	}
	return rose
}

// limited keeps a command from filling the memory.
type limited struct {
	buffer bytes.Buffer
	over   bool
}

var errOutput = errors.New("printed more than one number")

func (l *limited) Write(b []byte) (int, error) {
	if l.buffer.Len()+len(b) > maxOutput {
		l.over = true
		return 0, errOutput
	}
	return l.buffer.Write(b)
}
