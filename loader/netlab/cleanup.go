package netlab

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Cleanup deletes the namespaces that an earlier run with this prefix left,
// whatever state it left them in, and returns their names. Their processes are
// the caller's business; see Processes.
func Cleanup(prefix string) ([]string, error) {
	names, err := Leftovers(prefix)
	if err != nil {
		return nil, err
	}
	var errs []error
	for _, name := range names {
		errs = append(errs, deleteName(name))
	}
	return names, errors.Join(errs...)
}

// Leftovers names the namespaces called prefix-…
func Leftovers(prefix string) ([]string, error) {
	entries, err := os.ReadDir(NetnsDir)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("listing namespaces: %w", err)
	}
	var names []string
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), prefix+"-") {
			names = append(names, e.Name())
		}
	}
	return names, nil
}

// Processes returns the ids of the processes inside a named namespace. A name
// that is no namespace has none.
func Processes(name string) ([]int, error) {
	want, err := os.Stat(filepath.Join(NetnsDir, name))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("finding namespace: %w", err)
	}
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, fmt.Errorf("listing processes: %w", err)
	}
	var pids []int
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		// An error means that the process has ended meanwhile.
		got, err := os.Stat(filepath.Join("/proc", e.Name(), "ns/net"))
		if err == nil && os.SameFile(want, got) {
			pids = append(pids, pid)
		}
	}
	return pids, nil
}
