package e2e

import (
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"weir/loader/lb"
	"weir/loader/netlab"
)

// What a second daemon uses that shall not share with the first.
const (
	otherPins   = pinDir + "-other"
	otherSocket = runDir + "/other.sock"
	otherConfig = runDir + "/other.yaml"
)

// own is what makes a second daemon's configuration its own.
func own() settings {
	return settings{"pin_dir": otherPins, "socket": otherSocket, "state_dir": stateDir + "-other"}
}

// refusal is a start of the daemon that must fail.
type refusal struct {
	name    string
	prepare func(t *testing.T, l *lab) (undo func())
	change  settings // of the configuration
	command func(path string) *exec.Cmd
	want    string // the one line on stderr
}

// runIt is the plain command.
func runIt(path string) *exec.Cmd { return exec.Command(weirPath, "run", "-c", path) }

func TestBadStart(t *testing.T) {
	l := newLab(t, plan{})
	for _, c := range []refusal{
		{
			name: "foreign program on the interface",
			prepare: func(t *testing.T, l *lab) func() {
				if err := l.Balancer.PassAll(netlab.NIC); err != nil {
					t.Fatal(err)
				}
				return func() { l.detachForeign(t, netlab.NIC) }
			},
			want: `interface eth0 already runs another XDP program.*detach it with: ip link set dev eth0 xdp off`,
		},
		{
			name:   "missing interface",
			change: settings{"interfaces": "[eth0, eth7]"},
			want:   `interface "eth7": .*name an existing interface in .interfaces. \(ip link show\)`,
		},
		{
			name:   "driver without native XDP",
			change: settings{"interfaces": "[eth0, lo]"},
			want:   `driver of lo has no native XDP: set xdp_mode: auto or generic`,
		},
		{
			name: "not root",
			command: func(path string) *exec.Cmd {
				cmd := runIt(path)
				cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
				return cmd
			},
			want: `run weir as root`,
		},
		{
			name: "no BTF",
			command: func(path string) *exec.Cmd {
				return exec.Command("unshare", "--mount", "sh", "-c",
					"mount -t tmpfs none /sys/kernel/btf && exec "+weirPath+" run -c "+path)
			},
			want: `no BTF.*CONFIG_DEBUG_INFO_BTF=y`,
		},
		{
			name:   "pins not on a bpf file system",
			change: settings{"pin_dir": runDir + "/pins"},
			want:   `pin_dir ` + runDir + `/pins is not on a bpf file system: use a directory below /sys/fs/bpf`,
		},
		{
			name:   "unknown key",
			change: settings{"intrefaces": "[eth0]"},
			want:   `other.yaml:\d+: intrefaces: unknown key`,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			l.refuses(t, c)
			if id := l.programOn(t, netlab.NIC); id != 0 {
				t.Errorf("program %d stays on %s", id, netlab.NIC)
			}
		})
	}
}

func TestBadStartBesideARunningOne(t *testing.T) {
	l := start(t, plan{})
	for _, c := range []refusal{
		{
			name:   "second daemon on the same pins",
			change: settings{"pin_dir": pinDir},
			want:   `another weir daemon is using it: stop it first, or give this one its own pin_dir`,
		},
		{
			name:   "socket in use",
			change: settings{"socket": socketPath},
			want:   `admin socket ` + socketPath + `: another daemon serves it: stop that one first, or give this one its own socket`,
		},
		{
			name: "another weir on the same interface",
			want: `interface eth0 already runs another XDP program`,
		},
	} {
		t.Run(c.name, func(t *testing.T) { l.refuses(t, c) })
	}
	l.daemon.end(t, syscall.SIGTERM)
	t.Run("pins of other limits", func(t *testing.T) {
		l.refuses(t, refusal{
			change: settings{"pin_dir": pinDir, "limits": "{flows: 2000000}"},
			want:   `Restore the limits, or start anew, losing flows and counters: weir unload --pin-dir ` + pinDir,
		})
	})
	l.run(t)
	l.atWork(t, "started again with the old limits")
}

// refuses starts a daemon that must end by itself with one line, and must
// leave the kernel and the traffic as they were.
func (l *lab) refuses(t *testing.T, c refusal) {
	t.Helper()
	if c.prepare != nil {
		defer c.prepare(t, l)()
	}
	running := l.programOn(t, netlab.NIC) != 0 && c.prepare == nil
	before := l.kernelState(t)
	code, stderr := l.runToEnd(t, c)
	if code == 0 || code > 2 {
		t.Errorf("exit code %d, want 1 or 2", code)
	}
	if lines := strings.Count(stderr, "\n"); lines != 1 || !strings.HasPrefix(stderr, "weir: ") || !regexp.MustCompile(c.want).MatchString(stderr) {
		t.Errorf("stderr has %d lines, want one with %q:\n%s", lines, c.want, stderr)
	}
	if after := l.kernelState(t); !after.equal(before) {
		t.Errorf("pins and program changed: %+v became %+v", before, after)
	}
	if running {
		l.atWork(t, "after the refusal")
	}
}

func (l *lab) runToEnd(t *testing.T, c refusal) (code int, stderr string) {
	t.Helper()
	config := l.config
	config.settings = config.settings.with(own()).with(c.change)
	write(t, otherConfig, config)
	command := c.command
	if command == nil {
		command = runIt
	}
	var log logBuffer
	cmd := command(otherConfig)
	cmd.Stderr = &log
	if err := l.Balancer.Start(cmd); err != nil {
		t.Fatal(err)
	}
	late := time.AfterFunc(readyWithin, func() { _ = cmd.Process.Kill() })
	defer late.Stop()
	_ = cmd.Wait() // ProcessState has it
	return cmd.ProcessState.ExitCode(), log.String()
}

func TestBadReload(t *testing.T) {
	l := start(t, plan{})
	d := l.load(t, everything())
	events := startTail(t, "--kind", "config")
	before, was := l.kernelState(t), backends(t)
	for i, c := range []struct {
		change settings
		want   string
	}{
		{settings{"intrefaces": "[eth0]"}, `weir.yaml:\d+: intrefaces: unknown key`},
		{settings{"interfaces": "[eth0, eth7]"}, `interface "eth7"`},
		{settings{"limits": "{flows: 2000000}"}, `limits cannot change while the daemon runs: .*weir unload`},
		{settings{"pin_dir": otherPins}, `pin_dir cannot change while the daemon runs: .*weir unload`},
		{settings{"socket": otherSocket}, `socket cannot change while the daemon runs: restart the daemon`},
	} {
		config := l.config
		config.settings = config.settings.with(c.change)
		config.backends = config.backends[1:] // must not be taken over either
		l.write(t, config)
		l.daemon.signal(t, unix.SIGHUP)
		eventually(t, 10*time.Second, "refusal counted", yes(func() bool {
			return metric(t, "weir_config_reloads_total", map[string]string{"result": "refused"}) == float64(i+1)
		}))
		events.await(t, c.want, func(e lb.Event) bool {
			return e.Reason == "refused" && regexp.MustCompile(c.want).MatchString(e.Message)
		})
		if after := l.kernelState(t); !after.equal(before) {
			t.Errorf("%v: pins and program changed: %+v became %+v", c.change, before, after)
		}
		if is := backends(t); len(is) != len(was) || is[0].Backend != was[0].Backend || is[0].State != was[0].State {
			t.Errorf("%v: backends %+v became %+v", c.change, was, is)
		}
		d.more(t, 100)
	}
	d.finish(t, "refused reloads")
}
