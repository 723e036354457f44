package dsr

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

const sysctlDir = "/proc/sys/net"

// sysctl is a setting below sysctlDir that was changed.
type sysctl struct {
	Path   string `json:"path"`
	Before string `json:"before"`
	Set    string `json:"set"`
}

// wish is a setting and which values serve as well as the one to set.
type wish struct {
	path, set string
	fine      []string
}

// arpWishes keep the host from answering and asking ARP in the name of a VIP
// on its loopback interface. "all" and the interface's own count, whichever is
// larger (Linux, Documentation/networking/ip-sysctl.rst); 3 of arp_ignore
// answers for addresses of every interface.
func arpWishes(interfaces []string) (all []wish) {
	for _, name := range append([]string{"all"}, interfaces...) {
		dir := filepath.Join("ipv4/conf", name)
		all = append(all,
			wish{filepath.Join(dir, "arp_ignore"), "1", []string{"2", "8"}},
			wish{filepath.Join(dir, "arp_announce"), "2", nil},
		)
	}
	return all
}

// Values of rp_filter (RFC 3704).
const (
	rpStrict = 1
	rpLoose  = 2
)

func rpPath(iface string) string { return filepath.Join("ipv4/conf", iface, "rp_filter") }

// strict tells whether packets are dropped that come in on an interface other
// than the one that answers leave by.
func strict(iface string, before func(string) (string, error)) (bool, error) {
	highest := 0
	for _, name := range []string{"all", iface} {
		text, err := before(rpPath(name))
		if err != nil {
			return false, err
		}
		value, err := strconv.Atoi(text)
		if err != nil {
			return false, fmt.Errorf("net/%s is %q, which is no number", rpPath(name), text)
		}
		highest = max(highest, value)
	}
	return highest == rpStrict, nil
}

// changes are the wishes that the host does not fulfil by itself.
func changes(wishes []wish, before func(string) (string, error)) ([]sysctl, error) {
	var all []sysctl
	for _, w := range wishes {
		was, err := before(w.path)
		if err != nil {
			return nil, err
		}
		if was != w.set && !slices.Contains(w.fine, was) {
			all = append(all, sysctl{w.path, was, w.set})
		}
	}
	return all, nil
}

// beforeUs reads settings as they were before the changes that an earlier
// process left. What somebody set since counts as theirs.
func beforeUs(left []sysctl) func(string) (string, error) {
	return func(path string) (string, error) {
		now, err := readSysctl(path)
		for _, s := range left {
			if s.Path == path && s.Set == now {
				return s.Before, err
			}
		}
		return now, err
	}
}

// undo puts the earlier value back unless somebody else changed it meanwhile,
// or the interface has gone.
func (s sysctl) undo() error {
	now, err := readSysctl(s.Path)
	if errors.Is(err, fs.ErrNotExist) || err == nil && now != s.Set {
		return nil
	}
	if err != nil {
		return err
	}
	return writeSysctl(s.Path, s.Before)
}

func readSysctl(path string) (string, error) {
	text, err := os.ReadFile(filepath.Join(sysctlDir, path))
	if err != nil {
		return "", fmt.Errorf("reading a setting: %w", err)
	}
	return strings.TrimSpace(string(text)), nil
}

func writeSysctl(path, value string) error {
	if err := os.WriteFile(filepath.Join(sysctlDir, path), []byte(value), 0); err != nil {
		return fmt.Errorf("setting net/%s to %s: %w", path, value, err)
	}
	return nil
}
