package netlab

import (
	"errors"
	"fmt"
	"os"
	"strings"
)

// Cleanup deletes the namespaces that an earlier run with this prefix left,
// whatever state it left them in, and returns their names. Their processes are
// the caller's business.
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
