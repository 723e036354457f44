package control

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"weir/loader/lb"
	"weir/loader/weight"
)

// Ref names one backend of one pool.
type Ref struct {
	Pool     string
	Endpoint netip.AddrPort
}

func (r Ref) String() string { return r.Pool + "/" + r.Endpoint.String() }

// Compare orders by pool, then by endpoint.
func (r Ref) Compare(o Ref) int {
	if c := strings.Compare(r.Pool, o.Pool); c != 0 {
		return c
	}
	return r.Endpoint.Compare(o.Endpoint)
}

// Overrides is what operators set from the CLI. A value is never changed once
// it is in use: with and without return copies.
type Overrides map[Ref]weight.Override

func (o Overrides) with(r Ref, v weight.Override) Overrides {
	c := maps.Clone(o)
	if c == nil {
		c = Overrides{}
	}
	c[r] = v
	return c
}

func (o Overrides) without(r Ref) Overrides {
	c := maps.Clone(o)
	delete(c, r)
	return c
}

// get is nil for a backend without an override.
func (o Overrides) get(r Ref) *weight.Override {
	v, set := o[r]
	if !set {
		return nil
	}
	return &v
}

// lasting leaves out those that have ended.
func (o Overrides) lasting(now time.Time) Overrides {
	kept := Overrides{}
	for r, v := range o {
		if !v.Expired(now) {
			kept[r] = v
		}
	}
	return kept
}

// keep returns those whose backend the pools hold, and the refs of the rest.
func (o Overrides) keep(pools []lb.Pool) (kept Overrides, gone []Ref) {
	known := map[Ref]bool{}
	for _, p := range pools {
		for _, b := range p.Backends {
			known[Ref{p.Name, b.Endpoint()}] = true
		}
	}
	kept = Overrides{}
	for r, v := range o {
		if known[r] {
			kept[r] = v
		} else {
			gone = append(gone, r)
		}
	}
	slices.SortFunc(gone, Ref.Compare)
	return kept, gone
}

// overridesFile is where overrides outlive the daemon.
type overridesFile struct{ path string }

// overridesVersion is the format that load and save know.
const overridesVersion = 1

type overridesDoc struct {
	Version   int             `json:"version"`
	Overrides []overrideEntry `json:"overrides"`
}

type overrideEntry struct {
	Pool    string         `json:"pool"`
	Backend netip.AddrPort `json:"backend"`
	Weight  *lb.Weight     `json:"weight,omitempty"`
	Drain   bool           `json:"drain,omitempty"`
	Until   time.Time      `json:"until,omitzero"`
	Reason  string         `json:"reason,omitempty"`
}

func overridesIn(stateDir string) overridesFile {
	return overridesFile{filepath.Join(stateDir, "overrides.json")}
}

// LoadOverrides reads what an earlier run saved in its state directory. A
// damaged file is an error that names it.
func LoadOverrides(stateDir string) (Overrides, error) { return overridesIn(stateDir).load() }

// load reads the file; a missing one holds no overrides.
func (f overridesFile) load() (Overrides, error) {
	b, err := os.ReadFile(f.path)
	if errors.Is(err, fs.ErrNotExist) {
		return Overrides{}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading overrides: %w", err)
	}
	o, err := parseOverrides(b)
	if err != nil {
		return nil, fmt.Errorf("overrides file %s is damaged: %w; repair it, or remove it to start from the configured weights", f.path, err)
	}
	return o, nil
}

func parseOverrides(b []byte) (Overrides, error) {
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	var doc overridesDoc
	if err := d.Decode(&doc); err != nil {
		return nil, err
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, errors.New("data after the end of the document")
	}
	if doc.Version != overridesVersion {
		return nil, fmt.Errorf("version %d is not %d", doc.Version, overridesVersion)
	}
	o := Overrides{}
	for _, e := range doc.Overrides {
		r := Ref{e.Pool, e.Backend}
		v, err := e.override()
		if err != nil {
			return nil, fmt.Errorf("backend %s: %w", r, err)
		}
		if _, twice := o[r]; twice {
			return nil, fmt.Errorf("backend %s appears twice", r)
		}
		o[r] = v
	}
	return o, nil
}

func (e overrideEntry) override() (weight.Override, error) {
	o := weight.Override{Drain: e.Drain, Until: e.Until, Reason: e.Reason}
	if e.Drain == (e.Weight != nil) {
		return weight.Override{}, errors.New("needs either weight or drain")
	}
	if e.Weight != nil {
		o.Weight = *e.Weight
	}
	return o, checkOverride(o)
}

// maxReason is how long the reason of an override can be, in bytes.
const maxReason = 200

func checkOverride(o weight.Override) error {
	switch {
	case o.Weight > lb.MaxWeight:
		return fmt.Errorf("weight %d is above %d", o.Weight, lb.MaxWeight)
	case len(o.Reason) > maxReason:
		return fmt.Errorf("the reason has %d bytes; it has at most %d", len(o.Reason), maxReason)
	case !utf8.ValidString(o.Reason) || strings.ContainsFunc(o.Reason, unicode.IsControl):
		return fmt.Errorf("the reason %q is not one line of text", o.Reason)
	}
	return nil
}

// save replaces the file: after a crash it holds the old or the new content.
func (f overridesFile) save(o Overrides) error {
	b, err := json.MarshalIndent(o.document(), "", "  ")
	if err != nil {
		return fmt.Errorf("encoding overrides: %w", err)
	}
	if err := replaceFile(f.path, append(b, '\n')); err != nil {
		return fmt.Errorf("saving overrides: %w", err)
	}
	return nil
}

func (o Overrides) document() overridesDoc {
	doc := overridesDoc{Version: overridesVersion, Overrides: []overrideEntry{}}
	for _, r := range slices.SortedFunc(maps.Keys(o), Ref.Compare) {
		e := overrideEntry{Pool: r.Pool, Backend: r.Endpoint, Drain: o[r].Drain, Until: o[r].Until, Reason: o[r].Reason}
		if !e.Drain {
			w := o[r].Weight
			e.Weight = &w
		}
		doc.Overrides = append(doc.Overrides, e)
	}
	return doc
}

// replaceFile writes a file beside path, makes it durable and renames it over
// path.
func replaceFile(path string, b []byte) error {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	tmp, err := os.CreateTemp(dir, "."+filepath.Base(path)+"-*")
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name()) // gone already when the rename succeeded
	if err := writeDurably(tmp, b); err != nil {
		return err
	}
	if err := os.Rename(tmp.Name(), path); err != nil {
		return err
	}
	return syncDir(dir)
}

func writeDurably(f *os.File, b []byte) error {
	_, err := f.Write(b)
	return errors.Join(err, f.Sync(), f.Close())
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
