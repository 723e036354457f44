package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"weir/cmd/weir/daemon"
	"weir/loader/api/client"
	"weir/loader/control/controltest"
	"weir/loader/dataplane"
	"weir/loader/lb"
)

// Sessions may call weir, and weir-fake, which differs in that its daemon's
// kernel side is in memory.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"weir":      main,
		"request":   request,
		"weir-fake": func() { os.Exit(execute(kernel{open: openFake, unload: unloadFake, host: openHost})) },
	})
}

func TestSessions(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		UpdateScripts:       os.Getenv("UPDATE_SCRIPTS") != "", // then read the difference
		Setup: func(e *testscript.Env) error {
			e.Setenv("WEIR_SOCKET", e.WorkDir+"/weir.sock")
			e.Setenv("GORACE", "atexit_sleep_ms=0") // else each command takes a second
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"await": awaitDaemon, "fails": exits(exitFailed), "usage": exits(exitUsage),
			"expand": expandFiles, "until": runUntil, "send": sendSignal, "namespace": makeNamespace,
		},
	})
}

// awaitDaemon waits until the daemon on $WEIR_SOCKET is ready, or, as
// "! await", until it has gone.
func awaitDaemon(ts *testscript.TestScript, gone bool, args []string) {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	c := client.New(ts.Getenv("WEIR_SOCKET"))
	poll := time.NewTicker(10 * time.Millisecond)
	defer poll.Stop()
	for {
		_, err := c.Status(ctx)
		var none *client.NoDaemonError
		if gone && errors.As(err, &none) || !gone && err == nil {
			return
		}
		select {
		case <-ctx.Done():
			ts.Fatalf("await %v: %v", args, err)
		case <-poll.C:
		}
	}
}

// exits runs a command that must end with this exit code.
func exits(code int) func(*testscript.TestScript, bool, []string) {
	return func(ts *testscript.TestScript, _ bool, args []string) {
		err := ts.Exec(args[0], args[1:]...)
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.ExitCode() != code {
			ts.Fatalf("%v: %v, want exit code %d", args, err, code)
		}
	}
}

// runUntil runs a command again and again until its output matches the
// pattern that is the first argument.
func runUntil(ts *testscript.TestScript, _ bool, args []string) {
	want := regexp.MustCompile("(?m)" + args[0])
	late := time.After(20 * time.Second)
	for {
		err := ts.Exec(args[1], args[2:]...)
		if err == nil && want.MatchString(ts.ReadFile("stdout")) {
			return
		}
		select {
		case <-late:
			ts.Fatalf("%v never printed %s: %v", args[1:], args[0], err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// sendSignal sends a signal to the process whose id is in a file.
func sendSignal(ts *testscript.TestScript, _ bool, args []string) {
	pid, err := strconv.Atoi(strings.TrimSpace(ts.ReadFile(args[1])))
	ts.Check(err)
	ts.Check(syscall.Kill(pid, unix.SignalNum("SIG"+args[0])))
}

// makeNamespace makes a network namespace, and pins of the same name, that end
// with the session.
func makeNamespace(ts *testscript.TestScript, _ bool, args []string) {
	if os.Geteuid() != 0 {
		ts.Fatalf("namespaces and BPF need root")
	}
	name := args[0]
	clean := func() error {
		_, err := dataplane.Unload("/sys/fs/bpf/"+name, true)
		if _, gone := os.Stat("/run/netns/" + name); gone != nil {
			return err
		}
		return errors.Join(err, exec.Command("ip", "netns", "del", name).Run())
	}
	ts.Check(clean()) // what a crash left
	ts.Check(ts.Exec("ip", "netns", "add", name))
	ts.Defer(func() {
		if err := clean(); err != nil {
			ts.Logf("cleaning up: %v", err)
		}
	})
}

// expandFiles puts the session's variables into files.
func expandFiles(ts *testscript.TestScript, _ bool, names []string) {
	for _, name := range names {
		text := os.Expand(ts.ReadFile(name), ts.Getenv)
		ts.Check(os.WriteFile(ts.MkAbs(name), []byte(text), 0o644))
	}
}

// request prints what a URL answers.
func request() {
	answer, err := http.Get(os.Args[1])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	defer answer.Body.Close()
	if _, err := io.Copy(os.Stdout, answer.Body); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// openFake opens a kernel side in memory with traffic that is always the
// same. Whoever starts to listen gets three flow events.
func openFake(c lb.Config, log *slog.Logger) (*daemon.Kernel, error) {
	data := controltest.NewDataPlane()
	data.SetCounters(fakeCounters(c))
	data.SetCaptured(fakeCaptured(c), nil)
	hops := controltest.NewHops()
	for _, p := range c.Pools {
		for _, b := range p.Backends {
			if b.Addr != netip.MustParseAddr("10.0.0.66") { // the one nobody finds
				hops.Learn(b.Addr)
			}
		}
	}
	for i, s := range c.Services {
		src := netip.AddrPortFrom(netip.MustParseAddr("198.51.100.7"), uint16(4000+i))
		key := lb.FlowKey{Src: src, Dst: netip.AddrPortFrom(s.VIP.Addr, s.VIP.Port), Proto: s.VIP.Proto}
		data.AddFlow(key, lb.Flow{Set: uint32(i), Tag: 0xabc, State: "established", Idle: 4300 * time.Millisecond,
			VIP: s.VIP, Endpoint: c.Pools[0].Backends[0].Endpoint(), ID: 1})
	}
	log.Debug("fake kernel side opened")
	return &daemon.Kernel{Data: data, Hops: hops, Run: func(ctx context.Context) error {
		return emitTo(ctx, data, c.Services[0].VIP)
	}, Close: data.Close}, nil
}

// fakeCaptured is a packet that is sent, one that is dropped, and news of two
// that were lost.
func fakeCaptured(c lb.Config) []lb.Captured {
	at, vip := time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC), c.Services[0].VIP
	in := lb.Frame{Interface: "eth0", Length: 60, Data: append(make([]byte, 12), 8, 0, 0x45)}
	out := lb.Frame{Interface: "eth1", Length: 80, Data: in.Data}
	return []lb.Captured{
		{Time: at, Verdict: "redirect", VIP: &vip, Backend: netip.MustParseAddrPort("10.0.0.11:80"), In: in, Out: &out},
		{Lost: 2},
		{Time: at, Verdict: "drop", Reason: "no_backend", VIP: &vip, In: in},
	}
}

func fakeCounters(c lb.Config) lb.Counters {
	var all lb.Counters
	for _, s := range c.Services {
		for _, p := range c.Pools {
			for i, b := range p.Backends {
				if p.Name == s.Pool {
					n := uint64(i + 1)
					all.Backends = append(all.Backends, lb.BackendCounters{VIP: s.VIP, Endpoint: b.Endpoint(), ID: uint32(n),
						Active: n, Flows: 1000 * n, Packets: 1234567 * n, Bytes: 1 << 30 * n})
				}
			}
		}
	}
	all.Reasons = []lb.ReasonCount{{Reason: "truncated", Verdict: "drop", Packets: 4321}, {Reason: "not_vip", Verdict: "pass", Packets: 7}}
	return all
}

// emitTo sends its events once to each listener that comes.
func emitTo(ctx context.Context, data *controltest.DataPlane, vip lb.VIP) error {
	src, dst := netip.MustParseAddrPort("198.51.100.7:4242"), netip.AddrPortFrom(vip.Addr, vip.Port)
	for {
		if data.Await(ctx, func() bool { return sampling(data) }) != nil {
			return nil
		}
		for _, e := range []lb.Event{
			{Kind: "flow-new", VIP: vip.String(), Backend: "10.0.0.11:80", Src: src, Dst: dst, Proto: "tcp", Sampled: 16},
			{Kind: "drop", Reason: "truncated", VIP: vip.String(), Src: src, Dst: dst, Proto: "tcp", Length: 60, Iface: "eth0"},
			{Kind: "flow-closed", VIP: vip.String(), Backend: "10.0.0.11:80", Src: src, Dst: dst, Proto: "tcp", Sampled: 16},
		} {
			e.Time = time.Now()
			if data.Emit(ctx, e) != nil {
				return nil
			}
		}
		if data.Await(ctx, func() bool { return !sampling(data) }) != nil {
			return nil
		}
	}
}

func sampling(data *controltest.DataPlane) bool {
	s := data.Samples()
	return len(s) == 1 && s[0] > 0
}

func unloadFake(pinDir string, _ bool) ([]string, error) {
	if pinDir == "/sys/fs/bpf/weir-none" {
		return nil, nil
	}
	return []string{"link on eth0", "map flows"}, nil
}

// Every verb, whoever wrote it, shows an example.
func TestEveryVerbHasAnExample(t *testing.T) {
	var check func(*cobra.Command)
	check = func(c *cobra.Command) {
		if c.Example == "" {
			t.Errorf("%s has no example", c.CommandPath())
		}
		if c.Short == "" {
			t.Errorf("%s has no description", c.CommandPath())
		}
		for _, sub := range c.Commands() {
			if sub.Name() != "help" {
				check(sub)
			}
		}
	}
	check(new(app).root())
}

func TestNumbers(t *testing.T) {
	for n, want := range map[uint64]string{0: "0", 7: "7", 999: "999", 1000: "1,000", 1234567: "1,234,567"} {
		if got := count(n); got != want {
			t.Errorf("count(%d) = %s, want %s", n, got, want)
		}
	}
	for n, want := range map[uint64]string{0: "0 B", 1023: "1023 B", 1024: "1.00 KiB", 12 << 20: "12.0 MiB", 345 << 30: "345 GiB", 1<<64 - 1: "16.0 EiB"} {
		if got := size(n); got != want {
			t.Errorf("size(%d) = %s, want %s", n, got, want)
		}
	}
}

func TestParseRef(t *testing.T) {
	for s, ok := range map[string]bool{
		"web/10.0.0.1:80": true, "dns/[2001:db8::1]:53": true,
		"": false, "web": false, "web/": false, "/10.0.0.1:80": false, "web/10.0.0.1": false, "web/x:80": false, "web/10.0.0.1:80/x": false,
	} {
		r, err := parseRef(s)
		if (err == nil) != ok {
			t.Errorf("parseRef(%q) = %v, %v", s, r, err)
		}
		if err == nil && fmt.Sprintf("%s/%s", r.pool, r.endpoint) != s {
			t.Errorf("parseRef(%q) = %v", s, r)
		}
	}
}
