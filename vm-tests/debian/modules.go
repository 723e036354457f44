package debian

import (
	"bufio"
	"bytes"
	"context"
	"debug/elf"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Module is a kernel module, ready for finit_module(2).
type Module struct {
	Name    string
	Content []byte
}

// Modules returns the named modules and all that they depend on, each after
// those it depends on. What is built into the kernel is left out.
func (k *Kernel) Modules(ctx context.Context, names ...string) ([]Module, error) {
	paths, err := k.modulePaths()
	if err != nil {
		return nil, err
	}
	builtin, err := k.builtin()
	if err != nil {
		return nil, err
	}
	l := loader{ctx: ctx, kernel: k.Package, paths: paths, done: builtin}
	for _, name := range names {
		if err := l.add(name); err != nil {
			return nil, err
		}
	}
	return l.modules, nil
}

// loader collects modules in loading order.
type loader struct {
	ctx     context.Context
	kernel  string
	paths   map[string]string
	done    map[string]bool
	modules []Module
}

func (l *loader) add(name string) error {
	name = canonical(name)
	if l.done[name] {
		return nil
	}
	l.done[name] = true
	path, ok := l.paths[name]
	if !ok {
		return fmt.Errorf("%s has no module %s", l.kernel, name)
	}
	content, err := readModule(l.ctx, path)
	if err != nil {
		return err
	}
	needed, err := dependencies(content)
	if err != nil {
		return fmt.Errorf("module %s of %s: %w", name, l.kernel, err)
	}
	for _, n := range needed {
		if err := l.add(n); err != nil {
			return fmt.Errorf("%w, which %s needs", err, name)
		}
	}
	l.modules = append(l.modules, Module{Name: name, Content: content})
	return nil
}

// canonical is how the kernel itself writes a module's name.
func canonical(name string) string { return strings.ReplaceAll(name, "-", "_") }

// moduleName is a module file's module, and whether it is one.
func moduleName(file string) (string, bool) {
	name := strings.TrimSuffix(filepath.Base(file), ".xz")
	name, isModule := strings.CutSuffix(name, ".ko")
	return canonical(name), isModule
}

func (k *Kernel) modulePaths() (map[string]string, error) {
	paths := map[string]string{}
	err := filepath.WalkDir(k.modules, func(path string, _ fs.DirEntry, err error) error {
		if name, ok := moduleName(path); ok {
			paths[name] = path
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list the modules of %s: %w", k.Package, err)
	}
	return paths, nil
}

func (k *Kernel) builtin() (map[string]bool, error) {
	list, err := os.ReadFile(filepath.Join(k.modules, "modules.builtin"))
	if err != nil {
		return nil, fmt.Errorf("list what is built into %s: %w", k.Package, err)
	}
	names := map[string]bool{}
	for lines := bufio.NewScanner(bytes.NewReader(list)); lines.Scan(); {
		if name, ok := moduleName(lines.Text()); ok {
			names[name] = true
		}
	}
	return names, nil
}

func readModule(ctx context.Context, path string) ([]byte, error) {
	if strings.HasSuffix(path, ".xz") {
		return run(ctx, "", "xz", "--decompress", "--stdout", path)
	}
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read a module: %w", err)
	}
	return content, nil
}

// dependencies reads the names that modinfo(8) shows as "depends".
func dependencies(module []byte) ([]string, error) {
	file, err := elf.NewFile(bytes.NewReader(module))
	if err != nil {
		return nil, fmt.Errorf("read ELF: %w", err)
	}
	section := file.Section(".modinfo")
	if section == nil {
		return nil, fmt.Errorf("no section .modinfo")
	}
	info, err := section.Data()
	if err != nil {
		return nil, fmt.Errorf("read section .modinfo: %w", err)
	}
	return parseDepends(info), nil
}

// parseDepends reads zero-terminated KEY=VALUE entries.
func parseDepends(info []byte) []string {
	for entry := range bytes.SplitSeq(info, []byte{0}) {
		if list, ok := bytes.CutPrefix(entry, []byte("depends=")); ok {
			return slices.DeleteFunc(strings.Split(string(list), ","), func(name string) bool { return name == "" })
		}
	}
	return nil
}
