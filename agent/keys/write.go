package keys

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"weir/agent/report"
)

// Options say what Make makes.
type Options struct {
	Dir            string   // made if it is missing, with mode 0700
	Backends       []string // addresses or names, a certificate for each
	Balancers      []string // names, a certificate for each
	Valid          time.Duration
	AuthorityValid time.Duration // of a new authority
	Now            time.Time
}

// File is one that Make wrote.
type File struct {
	Path    string    `json:"path"`
	What    string    `json:"what"`
	Expires time.Time `json:"expires,omitzero"` // of a certificate
}

// Names of the authority's files.
const (
	authorityCert = "ca.crt"
	authorityKey  = "ca.key"
)

// Make writes certificates and keys, signed by the authority in the directory
// or by a new one. All files have mode 0600. It replaces no file: if one is
// there already, it writes nothing.
func Make(o Options) ([]File, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	b := batch{dir: o.Dir}
	ca, err := b.authority(o)
	if err != nil {
		return nil, err
	}
	for _, name := range o.Balancers {
		p, err := ca.balancer(name, o.Now, o.Valid)
		if err := b.add(name, "balancer "+name, p, err); err != nil {
			return nil, err
		}
	}
	for _, backend := range o.Backends {
		p, err := ca.agent(backend, o.Now, o.Valid)
		if err := b.add("agent-"+strings.ReplaceAll(backend, ":", "_"), "agent of "+backend, p, err); err != nil {
			return nil, err
		}
	}
	return b.write()
}

func (o Options) check() error {
	if len(o.Backends)+len(o.Balancers) == 0 {
		return errors.New("neither a backend nor a balancer is named")
	}
	if o.Valid <= 0 || o.AuthorityValid <= 0 {
		return fmt.Errorf("certificates valid for %s, of an authority for %s: both must be over 0", o.Valid, o.AuthorityValid)
	}
	for _, name := range o.Backends {
		if err := report.CheckIdentity(name); err != nil {
			return fmt.Errorf("backend %.70q is neither an IP address in its usual form nor a DNS name in lower case", name)
		}
	}
	for _, name := range o.Balancers {
		if err := checkName(name); err != nil {
			return err
		}
	}
	return nil
}

// batch is what is to be written, all or nothing.
type batch struct {
	dir   string
	files []File
	texts [][]byte
}

// authority reads the directory's, or adds a new one.
func (b *batch) authority(o Options) (pair, error) {
	cert, certErr := os.ReadFile(filepath.Join(o.Dir, authorityCert))
	key, keyErr := os.ReadFile(filepath.Join(o.Dir, authorityKey))
	if errors.Is(certErr, fs.ErrNotExist) && errors.Is(keyErr, fs.ErrNotExist) {
		ca, err := newAuthority(o.Now, o.AuthorityValid)
		return ca, b.add("ca", "authority", ca, err)
	}
	if err := errors.Join(certErr, keyErr); err != nil {
		return pair{}, fmt.Errorf("reading the authority: %w", err)
	}
	ca, err := parseAuthority(cert, key, o.Now)
	if err != nil {
		return pair{}, fmt.Errorf("authority %s: %w", filepath.Join(o.Dir, authorityCert), err)
	}
	return ca, nil
}

func (b *batch) add(name, what string, p pair, err error) error {
	if err != nil {
		return err
	}
	key, err := p.keyPEM()
	if err != nil {
		return err
	}
	path := filepath.Join(b.dir, name)
	b.files = append(b.files, File{path + ".crt", what, p.cert.NotAfter}, File{path + ".key", "key of " + what, time.Time{}})
	b.texts = append(b.texts, p.certPEM(), key)
	return nil
}

// write takes back what it wrote if it cannot write all.
func (b *batch) write() ([]File, error) {
	for _, f := range b.files {
		if _, err := os.Lstat(f.Path); err == nil {
			return nil, fmt.Errorf("%s is there already and is not replaced: move it away, or name another directory", f.Path)
		}
	}
	if err := os.MkdirAll(b.dir, 0o700); err != nil {
		return nil, err
	}
	for i, f := range b.files {
		if err := create(f.Path, b.texts[i]); err != nil {
			for _, written := range b.files[:i] {
				err = errors.Join(err, os.Remove(written.Path))
			}
			return nil, err
		}
	}
	return b.files, nil
}

// create writes a file that must not be there yet, to the disk.
func create(path string, text []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if err == nil {
		err = f.Sync()
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return errors.Join(err, os.Remove(path))
	}
	return nil
}
