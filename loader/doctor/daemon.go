package doctor

import (
	"fmt"
	"os"
	"strings"
)

// checkConfig reports a file that cannot be used.
func checkConfig(s Subject) []Finding {
	switch {
	case s.ConfigErr != nil:
		first, _, _ := strings.Cut(s.ConfigErr.Error(), "\n")
		return []Finding{fault(s.ConfigFile, "weir config check "+s.ConfigFile, "the configuration has faults: %s", first)}
	case s.Config == nil:
		return []Finding{fault("config", "weir doctor -c FILE", "no configuration is known: no daemon answers on %s", s.Socket)}
	}
	return append([]Finding{fine(s.ConfigFile, "is good")}, checkFresh(s)...)
}

// checkFresh reports a file that was changed and not taken over.
func checkFresh(s Subject) []Finding {
	if s.Daemon == nil || s.ConfigFile == "" {
		return nil
	}
	info, err := os.Stat(s.ConfigFile)
	if err != nil || !info.ModTime().After(s.Daemon.Status.ConfigLoaded) {
		return nil
	}
	return []Finding{warning(s.ConfigFile, "weir reload", "the file was changed after the daemon read it")}
}

// elsewhere is all that can be said of a daemon in another network namespace:
// interfaces and addresses here are not its. `ip netns exec` would hide the bpf
// file system.
func elsewhere(s Subject) []Finding {
	pid := s.Daemon.Status.PID
	return []Finding{fault(s.Socket, fmt.Sprintf("nsenter --net --target %d weir --socket %s doctor", pid, s.Socket),
		"the daemon (pid %d) is in another network namespace: nothing else can be examined from here", pid)}
}

// refused reports a state that the data plane does not take.
func refused(d *Daemon) []Finding {
	if d.Status.ApplyError == "" {
		return nil
	}
	return []Finding{fault("data plane", "weir tail --kind apply # shows each attempt; weir status", "it refused the last change, and the one before it is in force: %s", d.Status.ApplyError)}
}

func checkDaemon(s Subject, p Pins) []Finding {
	const start = "systemctl start weir # or: weir run -c FILE"
	switch {
	case s.Daemon == nil && p.Held:
		return []Finding{fault(s.Socket, "ss -xlp | grep weir # then: weir doctor --socket PATH", "a daemon holds %s but does not answer here", s.Config.PinDir)}
	case s.Daemon == nil && p.Found:
		return []Finding{fault(s.Socket, start, "no daemon runs: packets are forwarded as it left them, and no change of backends, neighbours or routes is followed")}
	case s.Daemon == nil:
		return []Finding{fault(s.Socket, start, "no daemon runs")}
	}
	return append([]Finding{fine(s.Socket, "weir %s, pid %d", s.Daemon.Status.Version, s.Daemon.Status.PID)}, refused(s.Daemon)...)
}
