// Package static answers from the files below a directory.
package static

import (
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"weir/l7/coding"
	"weir/l7/exchange"
	"weir/l7/prebuilt"
	"weir/l7/sieve"
)

// Options say what is served and how. The zero value of each but Root is useful.
type Options struct {
	Root   string // directory; it must exist
	Prefix string // of the path, taken off before a file is looked for: "/assets"

	// Index are the names that stand for a directory; nil: index.html.
	Index []string
	// Try are the names that are looked for, one after the other, {path} being
	// the request's; the last may be a status, "=404". nil: "{path}".
	Try []string
	// Listing shows directories without an index.
	Listing bool
	// Dotfiles serves names that begin with a dot. Without it only .well-known
	// is (RFC 8615).
	Dotfiles bool
	// Precompressed are the codings of which a file beside the one that is
	// asked for (.br, .zst, .gz) may be sent, in order of preference.
	Precompressed []coding.Coding
	// CacheControl is sent with files; "": not.
	CacheControl string
	// Types are media types by extension (".wasm"), before those known here.
	Types map[string]string

	// Open is how many files are kept open; 0: 1024. A file counts once for
	// each precompressed one too.
	Open int
	// Small is the length in bytes up to which a file that is kept open is kept
	// in memory too; 0: 16 KiB, less than 0: none is.
	Small int64
	// Recheck is for how long a file that is kept open is taken to be what its
	// name stands for; 0: 1 s.
	Recheck time.Duration
}

// Files is a handler for GET and HEAD. It may be used concurrently.
type Files struct {
	Options
	root     *os.Root
	open     *sieve.Map[string, *file]
	messages prebuilt.Messages
	dates    prebuilt.Dates
}

// New opens the directory. An error names what of the options is wrong.
func New(o Options) (*Files, error) {
	if o.Index == nil {
		o.Index = []string{"index.html"}
	}
	if o.Try == nil {
		o.Try = []string{"{path}"}
	}
	if o.Open == 0 {
		o.Open = 1024
	}
	if o.Small == 0 {
		o.Small = 16 << 10
	}
	o.Small = min(o.Small, prebuilt.Most)
	if o.Recheck == 0 {
		o.Recheck = time.Second
	}
	if err := o.check(); err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(o.Root)
	if err != nil {
		return nil, fmt.Errorf("open the root of files: %w", err)
	}
	open := sieve.New(int64(o.Open), func(_ string, f *file) { f.drop() })
	return &Files{Options: o, root: root, open: open}, nil
}

func (o *Options) check() error {
	for i, name := range o.Try {
		status, isStatus := strings.CutPrefix(name, "=")
		if !isStatus {
			continue
		}
		if n, err := strconv.Atoi(status); err != nil || n < 400 || n > 599 || i != len(o.Try)-1 {
			return fmt.Errorf("try %q: a status must be the last and 400 to 599", name)
		}
	}
	for _, c := range o.Precompressed {
		if suffixes[c] == "" {
			return fmt.Errorf("precompressed %q: no files have this coding", c)
		}
	}
	if o.Prefix != "" && (!strings.HasPrefix(o.Prefix, "/") || strings.HasSuffix(o.Prefix, "/")) {
		return fmt.Errorf("prefix %q: must begin with / and not end with it", o.Prefix)
	}
	return nil
}

// Close closes what is kept open. Responses under way are finished.
func (s *Files) Close() error {
	for name := range s.open.All() {
		if f, ok := s.open.Delete(name, nil); ok {
			f.drop()
		}
	}
	return s.root.Close()
}

// Serve implements exchange.Handler.
func (s *Files) Serve(x *exchange.Exchange) {
	if m := string(x.Request.Method); m != http.MethodGet && m != http.MethodHead {
		x.Fail(http.StatusMethodNotAllowed, "files are read only")
		x.Response.Header.Add("Allow", []byte("GET, HEAD"))
		return
	}
	var buf [256]byte // names up to this need no memory
	name, ok := s.name(buf[:0], x.Request.Path)
	if !ok {
		x.Fail(http.StatusNotFound, "no name of a file")
		return
	}
	for _, try := range s.Try {
		if status, ok := strings.CutPrefix(try, "="); ok {
			n, _ := strconv.Atoi(status) // checked by New
			x.Fail(n, "no file, as configured")
			return
		}
		done, err := s.try(x, expand(try, name))
		if err != nil {
			fail(x, err)
			return
		}
		if done {
			return
		}
	}
	x.Fail(http.StatusNotFound, "no such file")
}

// expand puts the name in the place of {path}.
func expand(try string, name []byte) []byte {
	if try == "{path}" {
		return name
	}
	full := strings.ReplaceAll(try, "{path}", "/"+string(name))
	return []byte(strings.TrimLeft(full, "/"))
}

// try answers with the file or directory of that name, if there is one. A
// directory's name ends with a slash, or is empty.
func (s *Files) try(x *exchange.Exchange, name []byte) (bool, error) {
	if len(name) > 0 && name[len(name)-1] != '/' {
		f, err := s.get(name, x.Began)
		if errors.Is(err, errDirectory) {
			return s.redirect(x), nil
		}
		if err != nil {
			return false, absent(err)
		}
		defer f.release()
		return true, s.send(x, f)
	}
	for _, index := range s.Index {
		f, err := s.get(append(name[:len(name):cap(name)], index...), x.Began)
		if err == nil {
			defer f.release()
			return true, s.send(x, f)
		}
		if absent(err) != nil {
			return false, err
		}
	}
	if s.Listing {
		return s.list(x, string(name))
	}
	return false, nil
}

// redirect sends the client to the directory's own name, relative to its
// authority, so that no field of the request makes it leave.
func (s *Files) redirect(x *exchange.Exchange) bool {
	location := append(append([]byte{}, x.Request.Path...), '/')
	for len(location) > 1 && location[1] == '/' { // "//" would begin an authority
		location = location[1:]
	}
	if len(x.Request.Query) > 0 {
		location = append(append(location, '?'), x.Request.Query...)
	}
	x.Response.Status = http.StatusMovedPermanently
	x.Response.Header.AddKnown(exchange.Location, location)
	return true
}

// absent is nil for an error that means that there is no such file to be
// served: it is missing, or its name leads out of the root.
func absent(err error) error {
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) || errors.Is(err, errDirectory) ||
		errors.Is(err, errSpecial) || errors.Is(err, syscall.ENAMETOOLONG) || errors.Is(err, syscall.ELOOP) || escapes(err) {
		return nil
	}
	return err
}

// escapes reports what os.Root refuses. Its error has no name of its own.
func escapes(err error) bool {
	var e *fs.PathError
	return errors.As(err, &e) && e.Err.Error() == "path escapes from parent"
}

func fail(x *exchange.Exchange, err error) {
	switch {
	case errors.Is(err, fs.ErrPermission):
		x.Fail(http.StatusForbidden, err.Error())
	case errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE):
		x.Fail(http.StatusServiceUnavailable, err.Error())
	default:
		x.Fail(http.StatusInternalServerError, err.Error())
	}
}
