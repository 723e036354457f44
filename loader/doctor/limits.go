package doctor

import (
	"fmt"

	"weir/loader/config"
	"weir/loader/lb"
)

// nearly is the part of a limit, in percent, from which on it counts as nearly
// used up.
const nearly = 90

// checkLimits compares what is used with the sizes of the kernel maps.
func checkLimits(s Subject, p Pins) []Finding {
	limits := s.Config.Limits
	if p.Limits != (lb.Limits{}) {
		limits = p.Limits // maps made earlier may be larger, or smaller
	}
	need := config.Need(*s.Config)
	if s.Daemon != nil {
		need.Backends = max(need.Backends, pairs(s.Daemon))
	}
	var all []Finding
	for _, x := range []struct {
		name        string
		used, limit uint64
	}{
		{"services", uint64(need.Services), uint64(limits.Services)},
		{"backends", uint64(need.Backends), uint64(limits.Backends)},
		{"table_entries", uint64(need.TableEntries), uint64(limits.TableEntries)},
		{"flows", flowsUsed(s.Daemon), uint64(limits.Flows)},
	} {
		all = append(all, checkLimit(x.name, x.used, x.limit))
	}
	return append(all, checkPressure(s)...)
}

func checkLimit(name string, used, limit uint64) Finding {
	where := "limits." + name
	if limit == 0 || 100*used <= nearly*limit {
		return fine(where, "%d of %d used", used, limit)
	}
	return warning(where, raise(name, 2*limit), "%d of %d used: nothing can grow much", used, limit)
}

// anew makes the maps again.
const anew = "systemctl stop weir; weir unload && systemctl start weir # flows are lost"

// raise is how a limit is changed: the maps must be made anew.
func raise(name string, to uint64) string {
	if name == "backends" {
		to = min(to, lb.MaxBackends)
	}
	return fmt.Sprintf("set limits.%s to %d in the configuration; %s", name, to, anew)
}

// pairs counts the (service, backend) pairs in use, draining ones included.
func pairs(d *Daemon) int {
	n := 0
	for _, b := range d.Backends {
		n += len(b.Services)
	}
	return n
}

func flowsUsed(d *Daemon) uint64 {
	if d == nil {
		return 0
	}
	var n uint64
	for _, used := range d.Status.Flows.ByState {
		n += used
	}
	return n
}

// checkPressure looks for packets whose flow found no room. Maglev sends the
// rest of such a flow to the same backend until the pool changes; other
// algorithms do not.
func checkPressure(s Subject) []Finding {
	if s.Daemon == nil {
		return nil
	}
	var all []Finding
	if t := s.Daemon.Status.Totals; t.Unstored > 0 {
		all = append(all, warning("flow table", raise("flows", 2*uint64(s.Config.Limits.Flows)),
			"%d packets of %d were forwarded with no room to store their flow", t.Unstored, t.Packets))
	}
	for _, r := range s.Daemon.Status.Reasons {
		if r.Verdict == "drop" && r.Reason == "snat_exhausted" && r.Packets > 0 {
			all = append(all, warning("snat", "add to snat.addresses in the configuration; "+anew,
				"%d packets of new flows were dropped: all sources they might have were in use", r.Packets))
		}
	}
	return all
}
