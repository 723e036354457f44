package main

import (
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"weir/loader/dataplane"
	"weir/loader/netlab"
)

// removeLeftovers takes away namespaces and pins of runs that were killed.
func removeLeftovers() error {
	namespaces, err := netlab.Leftovers(nsPrefix)
	if err != nil {
		return err
	}
	var errs []error
	for _, name := range namespaces {
		if !gone(strings.TrimPrefix(name, nsPrefix+"-")) {
			continue
		}
		ns, err := netlab.OpenNS(name)
		if err == nil {
			err = ns.Delete()
		}
		errs = append(errs, err)
	}
	pins, err := filepath.Glob(pinPrefix + "*")
	errs = append(errs, err)
	for _, dir := range pins {
		pid, _, _ := strings.Cut(strings.TrimPrefix(dir, pinPrefix), "_")
		if gone(pid) {
			_, err := dataplane.Unload(dir, false)
			errs = append(errs, err)
		}
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("remove what a killed benchmark left: %w", err)
	}
	return nil
}

// gone tells whether no process has this id.
func gone(pid string) bool {
	n, err := strconv.Atoi(pid)
	return err == nil && n > 0 && errors.Is(unix.Kill(n, 0), unix.ESRCH)
}
