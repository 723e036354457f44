package cgroup

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Pressure is how long, since it is counted, something and everything that
// could have run waited for a resource (Documentation/accounting/psi.rst).
type Pressure struct {
	Some, Full time.Duration
}

// Pressure of cpu, memory or io. Version 1 has none.
func (g *Group) Pressure(resource string) (Pressure, error) {
	if !g.v2 {
		return Pressure{}, fmt.Errorf("cgroup %s: version 1 has no pressure: %w", g.path, errors.ErrUnsupported)
	}
	return ReadPressure(g.dirs[""].file(resource + ".pressure"))
}

// ReadPressure reads a file such as /proc/pressure/cpu.
func ReadPressure(path string) (p Pressure, err error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, syscall.EOPNOTSUPP) { // built in, and off
		return p, fmt.Errorf("%s: %w", path, errors.ErrUnsupported)
	}
	if err != nil {
		return p, unsupported(err)
	}
	for line := range strings.Lines(string(text)) {
		kind, _, _ := strings.Cut(line, " ")
		_, total, found := strings.Cut(strings.TrimSpace(line), "total=")
		us, err := strconv.ParseUint(total, 10, 64)
		if !found || err != nil {
			return p, fmt.Errorf("%s: %.80q has no total", path, line)
		}
		switch kind {
		case "some":
			p.Some = micros(us)
		case "full":
			p.Full = micros(us)
		}
	}
	return p, nil
}
