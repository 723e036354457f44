package main

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"regexp"
	"strconv"
	"time"
)

// load is one case: what is asked for, and by what.
type load struct {
	name  string
	path  string
	tls   bool
	h2    bool
	conns int
	bar   float64 // against nginx; 0: none
	// without says that HAProxy has nothing of the kind.
	without bool
}

var loads = []load{
	{name: "proxy", path: "/proxy", conns: 64, bar: 1.0},
	{name: "cache", path: "/cache", conns: 64, bar: 0.75},
	{name: "tls_cache", path: "/cache", tls: true, conns: 64, bar: 0.8},
	{name: "h2_cache", path: "/cache", tls: true, h2: true, conns: 16},
	{name: "tls_proxy", path: "/proxy", tls: true, conns: 64, bar: 1.0},
	{name: "static", path: "/static/page.html", conns: 64, bar: 1.1, without: true},
	{name: "large", path: "/large", conns: 16, bar: 1.2},
}

func loadNamed(name string) (load, error) {
	for _, l := range loads {
		if l.name == name {
			return l, nil
		}
	}
	return load{}, fmt.Errorf("there is no case %q", name)
}

var (
	wrkRequests = regexp.MustCompile(`(\d+) requests in`)
	wrkFailures = regexp.MustCompile(`Non-2xx or 3xx responses: \d+|Socket errors: .*`)
	h2Requests  = regexp.MustCompile(`(\d+) succeeded, (\d+) failed, (\d+) errored`)
)

// run loads a server for a time and counts the requests that it answered. One
// that it fails is an error.
func (l load) run(ctx context.Context, address string, each time.Duration) (int, error) {
	scheme := "http"
	if l.tls {
		scheme = "https"
	}
	url := scheme + "://" + address + l.path
	seconds := strconv.Itoa(int(each.Seconds()))
	args := []string{"wrk", "-t1", "-c" + strconv.Itoa(l.conns), "-d" + seconds + "s", url}
	if l.h2 {
		args = []string{"h2load", "-t1", "-c" + strconv.Itoa(l.conns), "-m16", "-D" + seconds, url}
	}
	out, err := exec.CommandContext(ctx, "taskset", append([]string{"-c", loadCPU}, args...)...).CombinedOutput()
	if err != nil {
		return 0, fmt.Errorf("%s: %w\n%s", args[0], err, out)
	}
	if l.h2 {
		return countH2(out)
	}
	if failures := wrkFailures.Find(out); failures != nil {
		return 0, fmt.Errorf("%s: %s", url, failures)
	}
	found := wrkRequests.FindSubmatch(out)
	if found == nil {
		return 0, fmt.Errorf("wrk says\n%s", out)
	}
	return strconv.Atoi(string(found[1]))
}

func countH2(out []byte) (int, error) {
	found := h2Requests.FindSubmatch(out)
	if found == nil || !bytes.Equal(found[2], []byte("0")) || !bytes.Equal(found[3], []byte("0")) {
		return 0, fmt.Errorf("h2load says\n%s", out)
	}
	return strconv.Atoi(string(found[1]))
}
