package collect

import (
	"os"
	"path/filepath"
	"time"
)

// counters turns what only rises into what it rose by.
type counters[K comparable] struct {
	at   time.Time
	last map[K]float64
}

// rise is what each counter rose by since the call before, and the seconds
// between them. A counter that is new or began again has no rise; at the first
// call none has.
func (c *counters[K]) rise(now time.Time, values map[K]float64) (map[K]float64, float64) {
	seconds := now.Sub(c.at).Seconds()
	rose := map[K]float64{}
	for k, v := range values {
		if before, ok := c.last[k]; ok && v >= before && seconds > 0 {
			rose[k] = v - before
		}
	}
	c.at, c.last = now, values
	return rose, seconds
}

// ratio is a part of a whole, between 0 and 1.
func ratio(part, whole float64) float64 {
	if whole <= 0 {
		return 0
	}
	return max(0, min(1, part/whole))
}

// devices remembers which devices there are, which seldom changes.
type devices struct {
	dir   string
	names []string
	read  time.Time
}

const devicesFor = time.Minute

// real are the devices in dir that some hardware is behind; if none is, as in
// a container, those that skip does not name.
func (d *devices) real(now time.Time, skip func(string) bool) ([]string, error) {
	if !d.read.IsZero() && now.Sub(d.read) < devicesFor {
		return d.names, nil
	}
	entries, err := os.ReadDir(d.dir)
	if err != nil {
		return nil, err
	}
	var hardware, others []string
	for _, e := range entries {
		name := e.Name()
		if _, err := os.Stat(filepath.Join(d.dir, name, "device")); err == nil {
			hardware = append(hardware, name)
		} else if !skip(name) {
			others = append(others, name)
		}
	}
	d.read, d.names = now, hardware
	if len(hardware) == 0 {
		d.names = others
	}
	return d.names, nil
}
