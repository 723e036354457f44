package e2e

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"weir/loader/doctor"
	"weir/loader/lb"
	"weir/loader/netlab"
)

// planted is a fault, and the finding that it must cause and end with it.
type planted struct {
	name    string
	forward lb.Forward
	prepare func(*testing.T, *lab) // before the daemon starts
	start   func(*testing.T, *lab) // nil: the daemon runs
	plant   func(*testing.T, *lab)
	want    doctor.Finding         // What says how it begins, Remedy the same
	mend    func(*testing.T, *lab) // nil: what the remedy says
}

func TestDoctor(t *testing.T) {
	for _, p := range []planted{{
		name: "wrong MTU", forward: lb.DSR,
		prepare: func(t *testing.T, l *lab) {
			l.config.forward = lb.IPIP
			inNS(t, l.Balancer, "ip link set dev eth0 mtu 1520")
		},
		plant: func(t *testing.T, l *lab) { inNS(t, l.Balancer, "ip link set dev eth0 mtu 1500") },
		want:  doctor.Finding{Severity: doctor.Warning, Check: "mtu", Where: netlab.NIC, What: "the MTU is too small for tunnels", Remedy: "ip link set dev eth0 mtu 1520"},
	}, {
		// veth has no LRO to turn on. What breaks every connection there is
		// the other end's transmit checksum offload.
		name:  "offload on",
		plant: func(t *testing.T, l *lab) { inNS(t, l.Switch, "ethtool -K lb tx on") },
		want: doctor.Finding{Severity: doctor.Error, Check: "offloads", Where: netlab.NIC, What: "the other end of this veth, lb, has transmit checksum offload",
			Remedy: "nsenter --net=/run/netns/" + prefix + "-switch ethtool -K lb tx off"},
	}, {
		name:  "interface down",
		plant: func(t *testing.T, l *lab) { inNS(t, l.Balancer, "ip link set dev eth0 down") },
		want:  doctor.Finding{Severity: doctor.Error, Check: "nic", Where: netlab.NIC, What: "the interface is down", Remedy: "ip link set dev eth0 up"},
	}, {
		name: "missing neighbour",
		plant: func(t *testing.T, l *lab) {
			inNS(t, l.Backends[1].NS, "ip link set dev eth0 down")
			inNS(t, l.Balancer, "ip neigh flush dev eth0")
		},
		want: doctor.Finding{Severity: doctor.Error, Check: "neighbours", Where: "web/10.80.0.11:8080",
			What: "it has no next hop: neighbour 10.80.0.11 on eth0 has not answered", Remedy: "ip route get 10.80.0.11; ping -c 3 10.80.0.11"},
		mend: func(t *testing.T, l *lab) { inNS(t, l.Backends[1].NS, "ip link set dev eth0 up") },
	}, {
		name:  "foreign XDP program",
		start: func(*testing.T, *lab) {},
		plant: func(t *testing.T, l *lab) {
			if err := l.Balancer.PassAll(netlab.NIC); err != nil {
				t.Fatal(err)
			}
		},
		want: doctor.Finding{Severity: doctor.Error, Check: "xdp", Where: netlab.NIC, What: "another XDP program runs on it: pass", Remedy: "ip link set dev eth0 xdpdrv off"},
	}, {
		name:  "rp_filter on",
		plant: func(t *testing.T, l *lab) { inNS(t, l.Balancer, "sysctl -w net.ipv4.conf.eth0.rp_filter=1") },
		want: doctor.Finding{Severity: doctor.Warning, Check: "sysctls", Where: netlab.NIC, What: "strict reverse path filtering is on",
			Remedy: "sysctl -w net/ipv4/conf/eth0/rp_filter=0"},
	}, {
		name: "VIP on two hosts",
		plant: func(t *testing.T, l *lab) {
			if err := l.Client.AddAddr(netlab.NIC, netip.PrefixFrom(l.VIP, 32)); err != nil {
				t.Fatal(err)
			}
		},
		want: doctor.Finding{Severity: doctor.Warning, Check: "owners", Where: "198.51.100.10", What: "another host, 02:77:65:69:48:02, answers for this address on eth0",
			Remedy: "ip addr del 198.51.100.10/32 dev DEV # on the host with MAC address 02:77:65:69:48:02"},
		mend: func(t *testing.T, l *lab) { inNS(t, l.Client, "ip addr del 198.51.100.10/32 dev eth0") },
	}, {
		name: "pin directory missing",
		plant: func(t *testing.T, _ *lab) {
			if err := os.RemoveAll(pinDir); err != nil {
				t.Fatal(err)
			}
		},
		want: doctor.Finding{Severity: doctor.Error, Check: "pins", Where: pinDir, What: "the pin directory is missing though a daemon runs", Remedy: "systemctl restart weir"},
		mend: func(t *testing.T, l *lab) { l.restart(t, syscall.SIGTERM) },
	}, {
		name: "too few queues",
		prepare: func(t *testing.T, l *lab) {
			if runtime.NumCPU() == 1 {
				t.Skip("one queue is enough for one CPU")
			}
			inNS(t, l.Switch, "ethtool -L lb rx "+cpus)
			inNS(t, l.Balancer, fmt.Sprintf("ethtool -L eth0 rx %s tx %s", cpus, cpus))
		},
		plant: func(t *testing.T, l *lab) { inNS(t, l.Balancer, "ethtool -L eth0 rx 1 tx 1") },
		want:  doctor.Finding{Severity: doctor.Warning, Check: "queues", Where: netlab.NIC, What: "1 receive and 1 transmit queues for " + cpus + " CPUs", Remedy: "ethtool -L eth0 rx " + cpus + " tx " + cpus},
	}, {
		name: "no backend healthy",
		plant: func(t *testing.T, l *lab) {
			for _, s := range l.servers {
				weir(t, "backend", "drain", ref(s))
			}
		},
		want: doctor.Finding{Severity: doctor.Error, Check: "services", Where: service, What: "no backend takes new flows", Remedy: "weir backend ready web/10.80.0.10:8080"},
	}} {
		t.Run(p.name, func(t *testing.T) { p.test(t) })
	}
}

var cpus = fmt.Sprint(runtime.NumCPU())

func (p planted) test(t *testing.T) {
	l := newLab(t, plan{forward: p.forward})
	if p.prepare != nil {
		p.prepare(t, l)
	}
	l.write(t, l.config)
	if p.start == nil {
		p.start = func(t *testing.T, l *lab) { l.run(t) }
	}
	p.start(t, l)
	if f := p.find(examine(t, l)); f != nil {
		t.Fatalf("found before it is there: %+v", *f)
	}
	p.plant(t, l)
	found := examine(t, l)
	f := p.find(found)
	if f == nil {
		t.Fatalf("not found, but %+v", found)
	}
	if f.Severity != p.want.Severity || !strings.HasPrefix(f.Remedy, p.want.Remedy) {
		t.Errorf("found %+v, want %+v", *f, p.want)
	}
	if p.mend == nil {
		p.mend = func(t *testing.T, l *lab) { inNS(t, l.Balancer, f.Remedy) }
	}
	p.mend(t, l)
	if f := p.find(examine(t, l)); f != nil {
		t.Errorf("still found when it is mended: %+v", *f)
	}
}

// find returns the finding that is wanted, whatever its severity and remedy.
func (p planted) find(all []doctor.Finding) *doctor.Finding {
	for i, f := range all {
		if f.Check == p.want.Check && f.Where == p.want.Where && strings.HasPrefix(f.What, p.want.What) {
			return &all[i]
		}
	}
	return nil
}

// examine runs the doctor where the daemon is. Its exit code and its findings
// must say the same.
func examine(t *testing.T, l *lab) []doctor.Finding {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), weirPath, "doctor", "-c", configPath, "-o", "json")
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := l.Balancer.Start(cmd)
	if err == nil {
		err = cmd.Wait()
	}
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	var answer struct {
		OK       bool
		Errors   int
		Findings []doctor.Finding
	}
	if err := json.Unmarshal(stdout.Bytes(), &answer); err != nil {
		t.Fatalf("doctor: %v in %s, %s", err, stdout.String(), stderr.String())
	}
	if code := cmd.ProcessState.ExitCode(); (code == 0) != answer.OK || answer.OK != (answer.Errors == 0) || code > 1 {
		t.Errorf("doctor: exit code %d with %d errors, ok %v: %s", code, answer.Errors, answer.OK, stderr.String())
	}
	return answer.Findings
}

// inNS runs a command as a person would type it, in a namespace. weir is the
// binary that is tested.
func inNS(t *testing.T, ns *netlab.NS, command string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "sh", "-c", command)
	cmd.Env = append(cmd.Environ(), "WEIR_SOCKET="+socketPath, "PATH="+runDir+":/usr/sbin:/usr/bin:/sbin:/bin")
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := ns.Start(cmd)
	if err == nil {
		err = cmd.Wait()
	}
	if err != nil {
		t.Fatalf("%s, in %s: %v: %s", command, ns.Name, err, out.String())
	}
}
