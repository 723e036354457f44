// Package state keeps what a backend's operator asked of its agent, over
// restarts: a host that was drained stays so.
package state

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"weir/agent/report"
)

// State is what the operator asked for.
type State struct {
	Admin  report.Admin `json:"admin"`
	Weight *int         `json:"weight_percent,omitempty"` // nil: not asked for
	Reason string       `json:"reason,omitempty"`
	Since  time.Time    `json:"since,omitzero"`
}

// Check refuses what a report could not carry.
func (s State) Check() error {
	if s.Admin == "" {
		return errors.New("no state")
	}
	err := report.Status{Admin: s.Admin, Weight: s.Weight, Reason: s.Reason}.Check()
	if refused, ok := errors.AsType[*report.RefusedError](err); ok {
		return errors.New(refused.Detail)
	}
	return err
}

// Store is a state with its file. It may be used concurrently.
type Store struct {
	path string

	mu    sync.Mutex
	state State
}

const fileName = "agent.json"

// maxFile is far more than a state is.
const maxFile = 64 << 10

// Open reads the state in a directory, which is made if it is missing. Without
// a state the backend is ready.
func Open(dir string) (*Store, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("state directory: %w", err)
	}
	s := &Store{path: filepath.Join(dir, fileName), state: State{Admin: report.Ready}}
	info, err := os.Stat(s.path)
	if errors.Is(err, fs.ErrNotExist) {
		return s, nil
	}
	if err == nil && info.Size() > maxFile {
		err = fmt.Errorf("%d bytes are too many", info.Size())
	}
	if err == nil {
		s.state, err = read(s.path)
	}
	if err != nil {
		return nil, fmt.Errorf("state %s: %w; without the file the backend is ready", s.path, err)
	}
	return s, nil
}

func read(path string) (s State, err error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return s, err
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&s); err != nil {
		return s, err
	}
	return s, s.Check()
}

// Get is the state in force.
func (s *Store) Get() State {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state
}

// Change puts another state in force once it is on the disk. If it cannot be,
// the one before stays. It returns the state that is in force now.
func (s *Store) Change(change func(State) State) (State, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	next := change(s.state)
	if err := next.Check(); err != nil {
		return s.state, err
	}
	if err := write(s.path, next); err != nil {
		return s.state, fmt.Errorf("keeping the state: %w", err)
	}
	s.state = next
	return next, nil
}

// write replaces the file at once, so that a crash leaves the old or the new.
func write(path string, s State) error {
	text, err := json.Marshal(s)
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), fileName+".*")
	if err != nil {
		return err
	}
	_, err = f.Write(append(text, '\n'))
	if err == nil {
		err = f.Sync()
	}
	err = errors.Join(err, f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}
