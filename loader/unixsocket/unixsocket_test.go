package unixsocket

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func TestListenMode(t *testing.T) {
	for _, mask := range []int{0, 0o022, 0o077} {
		path := filepath.Join(t.TempDir(), "new", "weir.sock")
		old := syscall.Umask(mask)
		l, err := Listen(path)
		syscall.Umask(old)
		if err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(path)
		if err != nil || info.Mode().Perm() != 0o660 {
			t.Errorf("umask %o: mode %v, %v; want 0660", mask, info.Mode(), err)
		}
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestListenReplacesStaleSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "weir.sock")
	dead, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	dead.(*net.UnixListener).SetUnlinkOnClose(false)
	dead.Close()
	l, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	conn, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
}

func TestListenRefuses(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, []byte("keep"), 0o600); err != nil {
		t.Fatal(err)
	}
	ours := filepath.Join(dir, "ours")
	l, err := Listen(ours)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	foreign := filepath.Join(dir, "foreign")
	f, err := net.Listen("unix", foreign)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for path, want := range map[string]string{
		file:                                 "exists and is not a socket",
		ours:                                 "another daemon serves it",
		foreign:                              "another daemon serves it",
		filepath.Join(file, "x"):             "not a directory",
		dir + "/" + strings.Repeat("x", 120): "the kernel takes 107",
	} {
		l, err := Listen(path)
		if err == nil {
			l.Close()
		}
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), path) {
			t.Errorf("Listen(%s) = %v, want %q", path, err, want)
		}
	}
	if b, _ := os.ReadFile(file); string(b) != "keep" {
		t.Error("a file was touched")
	}
	if conn, err := net.Dial("unix", ours); err != nil {
		t.Errorf("the refused daemon broke the first one: %v", err)
	} else {
		conn.Close()
	}
}

func TestListenWaitsForADyingDaemon(t *testing.T) {
	path := filepath.Join(t.TempDir(), "weir.sock")
	dying, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := dying.(*lockedListener).Listener.Close(); err != nil { // nobody answers, the lock is held
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() {
		l, err := Listen(path)
		if err == nil {
			err = l.Close()
		}
		done <- err
	}()
	if err := dying.(*lockedListener).lock.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}
