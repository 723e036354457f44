// Package cgroup reads what one control group used and what it may use, of
// version 1 and of version 2 (cgroups(7)). What is missing is an error that
// wraps errors.ErrUnsupported. A Group may be used concurrently.
package cgroup

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Group is one control group.
type Group struct {
	path string // below the mount points
	v2   bool
	dirs map[string]dir // by controller; version 2 has one, for ""
}

// dir is a directory of a hierarchy.
type dir struct {
	mount string
	path  string // below mount, "" or with a slash first
}

func (d dir) file(name string) string { return d.mount + d.path + "/" + name }

// parents are the directory and those above it, up to the mount point.
func (d dir) parents() []dir {
	all := []dir{d}
	for d.path != "" {
		d.path = d.path[:strings.LastIndexByte(d.path, '/')]
		all = append(all, d)
	}
	return all
}

// Open finds a group by its path: below a hierarchy's root, as in
// /proc/PID/cgroup, or with a mount point before it, as in
// /sys/fs/cgroup/system.slice/web.service. root is where / is, which is / but
// for tests.
func Open(root, path string) (*Group, error) {
	mounts, err := readMounts(root)
	if err != nil {
		return nil, fmt.Errorf("cgroup %s: %w", path, err)
	}
	g := mounts.find(mounts.below(path))
	if g == nil {
		return nil, fmt.Errorf("cgroup %s: %w: neither a version 2 hierarchy with its controllers nor one of version 1 has it", path, os.ErrNotExist)
	}
	return g, nil
}

// Path is the group's below the root of the hierarchy.
func (g *Group) Path() string { return g.path }

// Version is 1 or 2.
func (g *Group) Version() int {
	if g.v2 {
		return 2
	}
	return 1
}

// Limited reports whether the group may use less than the whole host, of
// which it is told the number of CPUs and the bytes of memory.
func (g *Group) Limited(cores int, memory uint64) bool {
	if c, err := g.CPU(); err == nil && c.Cores > 0 && c.Cores < float64(cores) {
		return true
	}
	m, err := g.Memory()
	return err == nil && m.Limit > 0 && m.Limit < memory
}

func (g *Group) controller(name string) (dir, error) {
	if g.v2 {
		name = ""
	}
	d, ok := g.dirs[name]
	if !ok {
		return dir{}, fmt.Errorf("cgroup %s has no %s controller: %w", g.path, name, errors.ErrUnsupported)
	}
	return d, nil
}

// mounts are the mount points of hierarchies.
type mounts struct {
	root string // where / is
	v2   string
	v1   map[string]string // by controller
}

// readMounts reads /proc/self/mountinfo (proc_pid_mountinfo(5)).
func readMounts(root string) (mounts, error) {
	m := mounts{root: strings.TrimSuffix(root, "/"), v1: map[string]string{}}
	info, err := os.ReadFile(filepath.Join(root, "proc/self/mountinfo"))
	if err != nil {
		return m, err
	}
	for line := range strings.Lines(string(info)) {
		left, right, _ := strings.Cut(line, " - ")
		where, how := strings.Fields(left), strings.Fields(right)
		if len(where) < 5 || len(how) < 3 {
			continue
		}
		point := m.root + where[4]
		switch how[0] {
		case "cgroup2":
			m.v2 = point
		case "cgroup":
			for option := range strings.SplitSeq(how[2], ",") {
				m.v1[option] = point
			}
		}
	}
	if m.v2 == "" && len(m.v1) == 0 {
		return m, fmt.Errorf("no cgroup hierarchy is mounted: %w", errors.ErrUnsupported)
	}
	return m, nil
}

// below takes a mount point off a path.
func (m mounts) below(path string) string {
	path = filepath.Clean("/" + path)
	points := []string{m.v2}
	for _, point := range m.v1 {
		points = append(points, point)
	}
	longest := ""
	for _, point := range points {
		point = strings.TrimPrefix(point, m.root)
		if point != "" && (path == point || strings.HasPrefix(path, point+"/")) && len(point) > len(longest) {
			longest = point
		}
	}
	return strings.TrimSuffix(strings.TrimPrefix(path, longest), "/")
}

// controllers that collectors read.
var controllers = [...]string{"cpu", "cpuacct", "cpuset", "memory", "blkio"}

// find prefers version 2 where it has the group, unless its controllers are
// with version 1: in the hybrid layout of systemd it has the groups without them.
func (m mounts) find(path string) *Group {
	two := dir{m.v2, path}
	if isDir(two) && (m.v1["cpu"] == "" || hasControllers(two)) {
		return &Group{path: shown(path), v2: true, dirs: map[string]dir{"": two}}
	}
	g := &Group{path: shown(path), dirs: map[string]dir{}}
	for _, name := range controllers {
		if d := (dir{m.v1[name], path}); isDir(d) {
			g.dirs[name] = d
		}
	}
	if len(g.dirs) == 0 {
		return nil
	}
	return g
}

func isDir(d dir) bool {
	info, err := os.Stat(d.file(""))
	return d.mount != "" && err == nil && info.IsDir()
}

// shown is a path below a mount point as people write it.
func shown(path string) string {
	if path == "" {
		return "/"
	}
	return path
}

func hasControllers(d dir) bool {
	text, err := os.ReadFile(d.file("cgroup.controllers"))
	if err != nil {
		return false
	}
	for name := range strings.FieldsSeq(string(text)) {
		if name == "cpu" || name == "memory" {
			return true
		}
	}
	return false
}

// unlimited stands for max, and for version 1's nearly 2^63.
const unlimited = 0

// number reads a file that holds one number, or max.
func number(path string) (uint64, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return 0, unsupported(err)
	}
	return parseLimit(path, strings.TrimSpace(string(text)))
}

func parseLimit(path, word string) (uint64, error) {
	if word == "max" || word == "-1" {
		return unlimited, nil
	}
	n, err := strconv.ParseUint(word, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%s: %.40q is not a number", path, word)
	}
	return n, nil
}

// fields reads a file of lines with a name and a number.
func fields(path string) (map[string]uint64, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, unsupported(err)
	}
	all := map[string]uint64{}
	for line := range strings.Lines(string(text)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		n, err := strconv.ParseUint(value, 10, 64)
		if err != nil {
			return nil, fmt.Errorf("%s: %.40q is not a name and a number", path, line)
		}
		all[name] = n
	}
	return all, nil
}

// unsupported marks a file that this kernel or this group does not have.
func unsupported(err error) error {
	if errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("%w: %w", errors.ErrUnsupported, err)
	}
	return err
}

// least is the smaller of two limits.
func least(a, b uint64) uint64 {
	if a == unlimited || b != unlimited && b < a {
		return b
	}
	return a
}
