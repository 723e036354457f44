package cgroup

import (
	"errors"
	"fmt"
	"math"
	"os"
	"strconv"
	"strings"
	"time"
)

// CPU is what a group used since it was made, and what it may use.
type CPU struct {
	Used      time.Duration
	Cores     float64 // quota over period, or the CPUs of the cpuset, whichever is less; 0: without limit
	Periods   uint64  // of the quota
	Throttled uint64  // of them those in which the quota ran out
}

// CPU reads it. The limits of the groups above count too.
func (g *Group) CPU() (CPU, error) {
	var c CPU
	d, err := g.controller("cpu")
	if err != nil {
		return c, err
	}
	stat, err := fields(d.file("cpu.stat"))
	if err != nil && (g.v2 || !errors.Is(err, errors.ErrUnsupported)) {
		return c, err // the root of version 1 has no such file
	}
	c.Periods, c.Throttled = stat["nr_periods"], stat["nr_throttled"]
	if g.v2 {
		c.Used = micros(stat["usage_usec"])
	} else if c.Used, err = g.cpuacct(); err != nil {
		return c, err
	}
	for _, up := range d.parents() {
		quota, err := g.quota(up)
		if err != nil {
			return c, err
		}
		c.Cores = lesser(c.Cores, quota)
	}
	set, err := g.cpuset()
	c.Cores = lesser(c.Cores, float64(set))
	return c, err
}

func (g *Group) cpuacct() (time.Duration, error) {
	d, err := g.controller("cpuacct")
	if err != nil {
		return 0, err
	}
	ns, err := number(d.file("cpuacct.usage"))
	return time.Duration(min(ns, math.MaxInt64)), err
}

// micros is a time that does not run over after 292 years.
func micros(n uint64) time.Duration {
	return time.Duration(min(n, math.MaxInt64/1000)) * time.Microsecond
}

// quota in cores, 0 without one. The root of a hierarchy has none.
func (g *Group) quota(d dir) (float64, error) {
	var quota, period uint64
	var err error
	if g.v2 {
		quota, period, err = quotaOf(d.file("cpu.max"))
	} else if quota, err = number(d.file("cpu.cfs_quota_us")); err == nil {
		period, err = number(d.file("cpu.cfs_period_us"))
	}
	if errors.Is(err, errors.ErrUnsupported) {
		return 0, nil
	}
	if err != nil || quota == unlimited || period == 0 {
		return 0, err
	}
	return float64(quota) / float64(period), nil
}

// quotaOf reads version 2's cpu.max: quota and period, in microseconds.
func quotaOf(path string) (quota, period uint64, err error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return 0, 0, unsupported(err)
	}
	words := strings.Fields(string(text))
	if len(words) != 2 {
		return 0, 0, fmt.Errorf("%s: %.40q is not a quota and a period", path, text)
	}
	if quota, err = parseLimit(path, words[0]); err != nil {
		return 0, 0, err
	}
	period, err = parseLimit(path, words[1])
	return quota, period, err
}

// cpuset is the number of CPUs that the group may run on, 0 if nobody says.
func (g *Group) cpuset() (int, error) {
	d, err := g.controller("cpuset")
	if err != nil {
		return 0, nil
	}
	names := []string{"cpuset.effective_cpus", "cpuset.cpus"}
	if g.v2 {
		names = []string{"cpuset.cpus.effective"}
	}
	for _, name := range names {
		text, err := os.ReadFile(d.file(name))
		if err == nil && strings.TrimSpace(string(text)) != "" {
			return countCPUs(d.file(name), strings.TrimSpace(string(text)))
		}
	}
	return 0, nil
}

// countCPUs counts a list such as 0-3,8 (cpuset(7), List format).
func countCPUs(path, list string) (int, error) {
	n := 0
	for part := range strings.SplitSeq(list, ",") {
		from, to, isRange := strings.Cut(part, "-")
		first, err := strconv.ParseUint(from, 10, 16)
		last := first
		if isRange && err == nil {
			last, err = strconv.ParseUint(to, 10, 16)
		}
		if err != nil || last < first {
			return 0, fmt.Errorf("%s: %.40q is not a list of CPUs", path, list)
		}
		n += int(last - first + 1)
	}
	return n, nil
}

// lesser is the smaller of two numbers of cores of which 0 is no limit.
func lesser(a, b float64) float64 {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}
