package doctor

import (
	"fmt"
	"path/filepath"
	"slices"

	"weir/loader/lb"
)

// checkPins looks at the pin directory and its file system.
func checkPins(c lb.Config, running bool, p Pins, h bpffs) []Finding {
	dir := c.PinDir
	if !h.OnBPFFS(filepath.Dir(dir)) && (running || !h.OnBPFFS("/sys/fs/bpf")) {
		return []Finding{fault(dir, "mount -t bpf bpf /sys/fs/bpf && systemctl restart weir", "there is no bpf file system at %s: the data plane ends with the daemon", filepath.Dir(dir))}
	}
	if running && !p.Found {
		return []Finding{fault(dir, "systemctl restart weir # at a quiet time: flows and counters start anew", "the pin directory is missing though a daemon runs: the data plane ends with the daemon")}
	}
	if !p.Found {
		return []Finding{fine(dir, "nothing is pinned yet")}
	}
	return append(checkAdoption(dir, running, p), checkLinks(c, running, p)...)
}

func checkAdoption(dir string, running bool, p Pins) []Finding {
	unload := fmt.Sprintf("systemctl stop weir; weir unload --pin-dir %s && systemctl start weir # flows and counters are lost", dir)
	switch {
	case p.Refusal == nil:
		return []Finding{fine(dir, "this weir can adopt what is pinned")}
	case running:
		return []Finding{warning(dir, unload, "this weir, with this configuration, would not start on what is pinned: %v", p.Refusal)}
	}
	return []Finding{fault(dir, unload, "the daemon will not start: %v", p.Refusal)}
}

// checkLinks: an interface that was removed and made again has lost its
// program.
func checkLinks(c lb.Config, running bool, p Pins) []Finding {
	var all []Finding
	for _, name := range c.Interfaces {
		l, found := p.Links[name]
		switch {
		case running && !found:
			all = append(all, fault(name, "systemctl restart weir", "no attachment is pinned for it"))
		case found && l.Interface == 0:
			all = append(all, fault(name, "systemctl restart weir", "its pinned attachment belongs to an interface that is gone"))
		}
	}
	for name := range p.Links {
		if !slices.Contains(c.Interfaces, name) {
			all = append(all, warning(name, "weir reload", "a program is pinned on it, but the configuration does not name it"))
		}
	}
	return all
}
