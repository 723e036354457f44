package certs

import (
	"crypto/tls"
	"fmt"
	"os"
	"sync/atomic"
	"time"
)

// stamp tells whether a file is another one than before.
type stamp struct {
	size     int64
	modified time.Time
	info     os.FileInfo
}

func stampOf(name string) (stamp, error) {
	info, err := os.Stat(name)
	if err != nil {
		return stamp{}, err
	}
	return stamp{info.Size(), info.ModTime(), info}, nil
}

func (s stamp) same(o stamp) bool {
	return s.size == o.size && s.modified.Equal(o.modified) && os.SameFile(s.info, o.info)
}

// watched is a pair of files and the certificate that they were last.
type watched struct {
	pair        Pair
	seen        [2]stamp
	certificate atomic.Pointer[tls.Certificate] // with Leaf; never changed
	failed      string                          // the last error, "" if the files are in use
}

// look reads the files if they have changed. An error is returned once for
// each state of the files.
func (w *watched) look() (changed bool, err error) {
	now, err := w.stamps()
	if err == nil && w.certificate.Load() != nil && now[0].same(w.seen[0]) && now[1].same(w.seen[1]) {
		return false, nil
	}
	if err == nil {
		err = w.read()
	}
	if err != nil {
		again := w.failed == err.Error()
		w.failed = err.Error()
		if again {
			return false, nil
		}
		return false, err
	}
	w.seen, w.failed = now, ""
	return true, nil
}

func (w *watched) stamps() (all [2]stamp, err error) {
	if all[0], err = stampOf(w.pair.Certificate); err != nil {
		return all, fmt.Errorf("certificate: %w", err)
	}
	if all[1], err = stampOf(w.pair.Key); err != nil {
		return all, fmt.Errorf("key: %w", err)
	}
	return all, nil
}

// read takes the files if they go together.
func (w *watched) read() error {
	chain, err := readFile(w.pair.Certificate)
	if err != nil {
		return fmt.Errorf("certificate: %w", err)
	}
	key, err := readFile(w.pair.Key)
	if err != nil {
		return fmt.Errorf("key: %w", err)
	}
	c, err := tls.X509KeyPair(chain, key)
	if err != nil {
		return fmt.Errorf("certificate %s, key %s: %w", w.pair.Certificate, w.pair.Key, err)
	}
	if len(hostsOf(c.Leaf)) == 0 {
		return fmt.Errorf("certificate %s: it names no host", w.pair.Certificate)
	}
	w.certificate.Store(&c)
	return nil
}
