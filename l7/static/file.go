package static

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"weir/l7/coding"
	"weir/l7/exchange"
	"weir/l7/sieve"
	"weir/l7/validator"
)

var (
	errDirectory = errors.New("is a directory")
	errSpecial   = errors.New("is neither a file nor a directory")
)

// suffixes are the ends of names of precompressed files.
var suffixes = [coding.Codings]string{coding.Brotli: ".br", coding.Zstd: ".zst", coding.Gzip: ".gz"}

// identity is what tells a file from the one that had its name before.
type identity struct {
	device, inode uint64
	size          int64
	modified      int64 // ns since 1970
}

// file is an open file, with those that hold the same in other codings. It does
// not change but for refs and checked. It is closed when nothing uses it.
type file struct {
	identity
	name    string
	of      *os.File
	refs    atomic.Int64    // the map's, and each response's
	checked atomic.Int64    // when it was last what its name stands for, ns since 1970
	head    []byte          // status line and header of the whole, without Content-Length and Date
	fields  exchange.Header // the same
	etag    []byte
	content []byte // all of it, nil: too long for that
	coded   [coding.Codings]*file
}

// get finds a file, kept open or not. The caller releases it.
func (s *Files) get(name []byte, now time.Time) (*file, error) {
	if f, ok := sieve.GetBytes(s.open, name); ok && f.acquire() {
		if s.current(f, now) {
			return f, nil
		}
		f.release()
	}
	f, err := s.load(string(name), now)
	if err != nil {
		if old, ok := s.open.Delete(string(name), nil); ok {
			old.drop()
		}
		return nil, err
	}
	f.acquire()
	if old, had := s.open.Put(f.name, f, f.weight()); had {
		old.drop()
	}
	return f, nil
}

// current reports whether the name still stands for the file, which it looks up
// once in Recheck.
func (s *Files) current(f *file, now time.Time) bool {
	last := f.checked.Load()
	if now.UnixNano()-last < int64(s.Recheck) {
		return true
	}
	if !f.checked.CompareAndSwap(last, now.UnixNano()) {
		return true // somebody else looks
	}
	if !s.same(f) {
		return false
	}
	for _, c := range s.Precompressed {
		coded := f.coded[c]
		if coded != nil && !s.same(coded) || coded == nil && s.exists(f.name+suffixes[c]) {
			return false
		}
	}
	return true
}

func (s *Files) same(f *file) bool {
	info, err := s.root.Stat(f.name)
	return err == nil && identify(info) == f.identity
}

func (s *Files) exists(name string) bool {
	info, err := s.root.Stat(name)
	return err == nil && info.Mode().IsRegular()
}

func identify(info os.FileInfo) identity {
	id := identity{size: info.Size(), modified: info.ModTime().UnixNano()}
	if stat, ok := info.Sys().(*syscall.Stat_t); ok {
		id.device, id.inode = stat.Dev, stat.Ino
	}
	return id
}

// load opens a file and its precompressed ones.
func (s *Files) load(name string, now time.Time) (*file, error) {
	f, err := s.openOne(name, coding.Identity)
	if err != nil {
		return nil, err
	}
	f.checked.Store(now.UnixNano())
	varies := false
	for _, c := range s.Precompressed {
		coded, err := s.openOne(name+suffixes[c], c)
		if err == nil {
			f.coded[c], varies = coded, true
		} else if absent(err) != nil {
			f.drop()
			return nil, err
		}
	}
	f.describe(s, name, coding.Identity, varies)
	for c, coded := range f.coded {
		if coded != nil {
			coded.describe(s, name, coding.Coding(c), true)
		}
	}
	return f, nil
}

func (s *Files) openOne(name string, c coding.Coding) (*file, error) {
	// Opening a FIFO would wait for somebody to write to it.
	of, err := s.root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	f := &file{name: name, of: of}
	f.refs.Store(1)
	info, err := of.Stat()
	switch {
	case err != nil:
	case info.IsDir():
		err = fmt.Errorf("%s %w", name, errDirectory)
	case !info.Mode().IsRegular():
		err = fmt.Errorf("%s %w", name, errSpecial)
	default:
		f.identity = identify(info)
		err = f.keep(s.Small)
	}
	if err != nil {
		f.drop()
		return nil, err
	}
	f.etag = fmt.Appendf(nil, `"%x-%x-%x"`, f.inode, f.size, f.modified)
	if c != coding.Identity { // a hard link may be both
		f.etag = fmt.Appendf(nil, `"%x-%x-%x-%s"`, f.inode, f.size, f.modified, c)
	}
	return f, nil
}

// keep reads a small file into memory, unless it changes meanwhile.
func (f *file) keep(most int64) error {
	if f.size > most {
		return nil
	}
	content := make([]byte, f.size)
	n, err := f.of.ReadAt(content, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("read %s: %w", f.name, err)
	}
	info, err := f.of.Stat()
	if err != nil {
		return fmt.Errorf("read %s: %w", f.name, err)
	}
	if int64(n) == f.size && identify(info) == f.identity {
		f.content = content
	}
	return nil
}

// describe makes the header.
func (f *file) describe(s *Files, name string, c coding.Coding, varies bool) {
	h := &f.fields
	h.AddKnown(exchange.ContentType, []byte(s.mediaType(name)))
	if c != coding.Identity {
		h.AddKnown(exchange.ContentEncoding, []byte(c.String()))
	}
	h.AddKnown(exchange.LastModified, validator.AppendDate(nil, time.Unix(0, f.modified)))
	h.AddKnown(exchange.ETag, f.etag)
	h.AddKnown(exchange.AcceptRanges, []byte("bytes"))
	if varies {
		h.AddKnown(exchange.Vary, []byte("Accept-Encoding"))
	}
	if s.CacheControl != "" {
		h.AddKnown(exchange.CacheControl, []byte(s.CacheControl))
	}
	var head bytes.Buffer
	fmt.Fprintf(&head, "HTTP/1.1 200 %s\r\n", http.StatusText(http.StatusOK))
	for _, field := range h.Fields() {
		fmt.Fprintf(&head, "%s: %s\r\n", field.Text, field.Value)
	}
	f.head = head.Bytes()
}

func (s *Files) mediaType(name string) string {
	extension := strings.ToLower(path.Ext(name))
	if t, ok := s.Types[extension]; ok {
		return t
	}
	if t, ok := types[extension]; ok {
		return t
	}
	return "application/octet-stream"
}

func (f *file) weight() int64 {
	n := int64(1)
	for _, c := range f.coded {
		if c != nil {
			n++
		}
	}
	return n
}

// acquire counts one user more, unless the file is closed already.
func (f *file) acquire() bool {
	for {
		n := f.refs.Load()
		if n == 0 {
			return false
		}
		if f.refs.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

func (f *file) release() {
	if f.refs.Add(-1) > 0 {
		return
	}
	_ = f.of.Close() // only read from
	for _, c := range f.coded {
		if c != nil {
			c.release()
		}
	}
}

// drop gives up the map's use.
func (f *file) drop() { f.release() }
