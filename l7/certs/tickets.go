package certs

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"time"
)

// keptKeys is how many keys open tickets: the one that makes new ones and
// those before it.
const keptKeys = 3

// tickets holds the keys of session tickets (RFC 8446, 4.6.1; RFC 5077).
type tickets struct {
	file   string
	every  time.Duration
	keys   [][32]byte // the first encrypts
	made   time.Time
	seen   stamp
	failed string
}

func (t *tickets) begin(o Options) error {
	t.file, t.every = o.TicketKeys, o.RotateTickets
	_, err := t.look(o.Now())
	return err
}

// look replaces keys whose time has come, or reads the file if it has changed.
// An error is returned once for each state of the file.
func (t *tickets) look(now time.Time) (changed bool, err error) {
	if t.file == "" {
		if len(t.keys) > 0 && now.Sub(t.made) < t.every {
			return false, nil
		}
		t.rotate(now)
		return true, nil
	}
	at, err := stampOf(t.file)
	if err == nil && len(t.keys) > 0 && at.same(t.seen) {
		return false, nil
	}
	var keys [][32]byte
	if err == nil {
		keys, err = readKeys(t.file)
	}
	if err != nil {
		again := t.failed == err.Error()
		t.failed = err.Error()
		if again {
			return false, nil
		}
		return false, fmt.Errorf("session ticket keys: %w", err)
	}
	t.keys, t.seen, t.failed = keys, at, ""
	return true, nil
}

func (t *tickets) rotate(now time.Time) {
	var fresh [32]byte
	rand.Read(fresh[:])
	t.keys = append([][32]byte{fresh}, t.keys[:min(len(t.keys), keptKeys-1)]...)
	t.made = now
}

func readKeys(name string) ([][32]byte, error) {
	text, err := readFile(name)
	if err != nil {
		return nil, err
	}
	var keys [][32]byte
	lines := bufio.NewScanner(bytes.NewReader(text))
	for n := 1; lines.Scan(); n++ {
		line := bytes.TrimSpace(lines.Bytes())
		if len(line) == 0 || line[0] == '#' {
			continue
		}
		key, err := base64.StdEncoding.DecodeString(string(line))
		if err != nil || len(key) != 32 {
			return nil, fmt.Errorf("%s:%d: not 32 bytes in base64", name, n)
		}
		keys = append(keys, [32]byte(key))
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if len(keys) == 0 {
		return nil, errors.New(name + ": no key in it")
	}
	return keys, nil
}
