// Package debian gets kernels out of Debian's packages, unpacked and not
// installed. It runs apt-cache, apt-get, dpkg and xz.
package debian

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// Store keeps unpacked packages in a directory, one subdirectory for each. One
// process may use a directory at a time.
type Store struct {
	Dir string
	// Notice says what is fetched and why something older is used.
	Notice func(format string, args ...any)
}

// Kernel is an unpacked kernel package.
type Kernel struct {
	Package string
	Image   string // path of the bootable file
	modules string // path of lib/modules/RELEASE
}

// Kernel returns the newest kernel of a series ("6.12") and flavour
// ("cloud-amd64") that the configured archives have, and fetches it if the
// store has not. When the archives cannot be reached, the newest one stored
// does.
func (s Store) Kernel(ctx context.Context, series, flavour string) (*Kernel, error) {
	if err := os.MkdirAll(s.Dir, 0o755); err != nil {
		return nil, fmt.Errorf("create the kernels' directory: %w", err)
	}
	pattern := fmt.Sprintf(`^linux-image-%s\..*-%s-unsigned$`, regexp.QuoteMeta(series), regexp.QuoteMeta(flavour))
	name, err := s.available(ctx, pattern)
	if err == nil {
		err = s.fetch(ctx, name)
	}
	if err != nil {
		stored := s.stored(regexp.MustCompile(pattern))
		if stored == "" {
			return nil, fmt.Errorf("get a kernel %s (%s): %w", series, flavour, err)
		}
		s.Notice("using %s, which is here already: %v", stored, err)
		name = stored
	}
	return open(name, filepath.Join(s.Dir, name))
}

// available is the newest package that the archives have, after an update of
// the lists if they name none.
func (s Store) available(ctx context.Context, pattern string) (string, error) {
	name, err := search(ctx, pattern)
	if err != nil || name != "" {
		return name, err
	}
	if err := s.update(ctx); err != nil {
		return "", err
	}
	if name, err = search(ctx, pattern); err == nil && name == "" {
		err = fmt.Errorf("no package is called like %s: add the archives bookworm-security or bookworm-backports to apt's sources", pattern)
	}
	return name, err
}

func search(ctx context.Context, pattern string) (string, error) {
	out, err := run(ctx, "", "apt-cache", "search", "--names-only", pattern)
	if err != nil {
		return "", err
	}
	var names []string
	for line := range strings.Lines(string(out)) {
		name, _, _ := strings.Cut(line, " - ")
		names = append(names, strings.TrimSpace(name))
	}
	return newest(names), nil
}

func newest(names []string) string {
	if len(names) == 0 {
		return ""
	}
	return slices.MaxFunc(names, compareVersions)
}

func (s Store) update(ctx context.Context) error {
	s.Notice("reading the lists of Debian's archives (apt-get update)")
	_, err := run(ctx, "", "apt-get", "update", "-qq")
	return err
}

// stored is the newest package in the store that matches.
func (s Store) stored(pattern *regexp.Regexp) string {
	entries, err := os.ReadDir(s.Dir)
	if err != nil {
		return ""
	}
	var names []string
	for _, e := range entries {
		if pattern.MatchString(e.Name()) {
			names = append(names, e.Name())
		}
	}
	return newest(names)
}

// fetch downloads and unpacks a package that is not in the store. One rename
// commits, so that a package is never half there.
func (s Store) fetch(ctx context.Context, name string) (err error) {
	target := filepath.Join(s.Dir, name)
	if _, err := os.Stat(target); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	s.Notice("downloading %s from Debian", name)
	staging, err := os.MkdirTemp(s.Dir, "new-")
	if err != nil {
		return fmt.Errorf("create a directory to unpack in: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(staging)) }()
	if err := s.download(ctx, staging, name); err != nil {
		return err
	}
	debs, err := filepath.Glob(filepath.Join(staging, "*.deb"))
	if err != nil || len(debs) != 1 {
		return fmt.Errorf("download %s: got the files %v", name, debs)
	}
	unpacked := filepath.Join(staging, "root")
	if _, err := run(ctx, "", "dpkg", "-x", debs[0], unpacked); err != nil {
		return err
	}
	if err := os.Rename(unpacked, target); err != nil {
		return fmt.Errorf("store %s: %w", name, err)
	}
	return nil
}

// download tries again with new lists, as old ones name versions that the
// archive has replaced.
func (s Store) download(ctx context.Context, dir, name string) error {
	// As root apt-get would complain that its own user cannot write here.
	get := []string{"apt-get", "download", "-qq", "-o", "APT::Sandbox::User=root", name}
	if _, err := run(ctx, dir, get...); err == nil {
		return nil
	}
	if err := s.update(ctx); err != nil {
		return err
	}
	_, err := run(ctx, dir, get...)
	return err
}

// run returns what a command prints, and its complaints as an error.
func run(ctx context.Context, dir string, command ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, command[0], command[1:]...)
	cmd.Dir = dir
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("%s: %w: %s", strings.Join(command, " "), err, bytes.TrimSpace(stderr.Bytes()))
	}
	return out, nil
}

func open(name, dir string) (*Kernel, error) {
	k := &Kernel{Package: name}
	for _, part := range []struct {
		pattern string
		path    *string
	}{{"boot/vmlinuz-*", &k.Image}, {"lib/modules/*", &k.modules}} {
		found, err := filepath.Glob(filepath.Join(dir, part.pattern))
		if err != nil || len(found) != 1 {
			return nil, fmt.Errorf("unpacked %s has %v as %s; remove %s to fetch it again", name, found, part.pattern, dir)
		}
		*part.path = found[0]
	}
	return k, nil
}
