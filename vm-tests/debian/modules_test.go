package debian

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

func TestParseDepends(t *testing.T) {
	for info, want := range map[string][]string{
		"license=GPL\x00depends=udp_tunnel,ip_tunnel\x00retpoline=Y\x00": {"udp_tunnel", "ip_tunnel"},
		"license=GPL\x00depends=\x00":                                    nil,
		"license=GPL\x00softdepends=x\x00":                               nil,
		"":                                                               nil,
	} {
		if got := parseDepends([]byte(info)); !slices.Equal(got, want) {
			t.Errorf("%q: %q, want %q", info, got, want)
		}
	}
}

// write puts files below dir, by path.
func write(t *testing.T, dir string, files map[string][]byte) {
	t.Helper()
	for name, content := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, content, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// object is an ELF object with a .modinfo section, made by the Go linker's
// own rules: the smallest file that debug/elf takes.
func object(t *testing.T, depends string) []byte {
	t.Helper()
	const ehSize, shSize = 64, 64
	names := "\x00.modinfo\x00.shstrtab\x00"
	info := "license=GPL\x00depends=" + depends + "\x00"
	b := make([]byte, ehSize, 512)
	copy(b, "\x7fELF\x02\x01\x01")
	b[16], b[18], b[20] = 1, 62, 1 // relocatable, x86-64, version 1
	infoAt := len(b)
	b = append(b, info...)
	namesAt := len(b)
	b = append(b, names...)
	sections := len(b)
	b = append(b, make([]byte, 3*shSize)...)
	section := func(i, name, kind, at, size int) {
		h := b[sections+i*shSize:]
		h[0], h[4], h[32] = byte(name), byte(kind), byte(size)
		h[24], h[25] = byte(at), byte(at>>8)
	}
	section(1, 1, 1, infoAt, len(info))
	section(2, 10, 3, namesAt, len(names))
	b[40], b[41] = byte(sections), byte(sections>>8)
	b[52], b[58], b[60], b[62] = ehSize, shSize, 3, 2
	return b
}

func TestModulesInLoadingOrder(t *testing.T) {
	if _, err := exec.LookPath("xz"); err != nil {
		t.Skip("needs xz-utils")
	}
	dir := t.TempDir()
	write(t, dir, map[string][]byte{
		"boot/vmlinuz-1":                   nil,
		"lib/modules/1/modules.builtin":    []byte("kernel/net/core.ko\n"),
		"lib/modules/1/kernel/a.ko":        object(t, "b-b,core"),
		"lib/modules/1/kernel/b-b.ko":      object(t, "c"),
		"lib/modules/1/kernel/c.ko":        object(t, ""),
		"lib/modules/1/kernel/d.ko":        object(t, "c"),
		"lib/modules/1/kernel/broken.ko":   object(t, "missing"),
		"lib/modules/1/kernel/nonsense.ko": []byte("nonsense"),
	})
	if out, err := exec.Command("xz", filepath.Join(dir, "lib/modules/1/kernel/c.ko")).CombinedOutput(); err != nil {
		t.Fatal(err, string(out))
	}
	k, err := open("p", dir)
	if err != nil {
		t.Fatal(err)
	}
	modules, err := k.Modules(t.Context(), "d", "a", "core", "b_b")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, m := range modules {
		names = append(names, m.Name)
		if !strings.HasPrefix(string(m.Content), "\x7fELF") {
			t.Errorf("%s is not decompressed", m.Name)
		}
	}
	if want := []string{"c", "d", "b_b", "a"}; !slices.Equal(names, want) {
		t.Errorf("order %v, want %v", names, want)
	}
	for name, want := range map[string]string{"missing": "no module missing", "broken": "which broken needs", "nonsense": "ELF"} {
		if _, err := k.Modules(t.Context(), name); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("module %s: %v, want %q", name, err, want)
		}
	}
}

func TestStoredIsTheNewestThatMatches(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"linux-image-6.1.0-9-x", "linux-image-6.1.0-10-x", "linux-image-6.12.1-x", "new-123"} {
		write(t, dir, map[string][]byte{name + "/f": nil})
	}
	s := Store{Dir: dir, Notice: t.Logf}
	if got := s.stored(regexp.MustCompile(`^linux-image-6\.1\.`)); got != "linux-image-6.1.0-10-x" {
		t.Errorf("newest is %q", got)
	}
	if got := s.stored(regexp.MustCompile(`^linux-image-7`)); got != "" {
		t.Errorf("newest is %q, want none", got)
	}
}
