package cache

import (
	"fmt"
	"hash/maphash"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"weir/l7/sieve"
)

// disk is the disk tier: a file for each entry, written aside and renamed, so
// that a crash leaves a whole one or none. What is where is in memory only, and
// is found out again in the background after a start.
type disk struct {
	dir   string
	most  int64 // bytes of one body
	seed  maphash.Seed
	last  atomic.Uint64 // number of the newest file; later ones have greater ones
	index *sieve.Map[uint64, *stored]
	jobs  chan *job
	done  sync.WaitGroup
	stop  chan struct{}
	reads [64]sync.Mutex // by URL: one file is read once at a time

	mu      sync.Mutex
	byURL   map[string][]*stored
	byTag   map[string]map[*stored]struct{}
	pending map[*job]struct{}
	waiting int64 // bytes of pending bodies
	closed  bool
	purged  map[string]uint64 // while files are still being found: URL → newest file then

	written, dropped, damaged, failed atomic.Int64
}

// stored is a file.
type stored struct {
	number uint64
	url    string
	tags   []string
	choice uint64 // hash of what chose the answer
	size   int64
}

// job is an entry that is to be written.
type job struct {
	url   string
	entry *entry
}

const (
	mostPending      = 1024     // entries
	mostPendingBytes = 64 << 20 // of their bodies
	block            = 4096     // what a file's size is rounded up to, bytes
)

// openDisk uses a directory, which is made if it is not there. most is the
// length of the longest body.
func openDisk(dir string, size, most int64) (*disk, error) {
	if size < 4*most {
		return nil, fmt.Errorf("disk of %d bytes: must be at least four times the largest object, %d", size, 4*most)
	}
	aside := filepath.Join(dir, "aside")
	if err := os.RemoveAll(aside); err != nil { // what a crash left
		return nil, fmt.Errorf("clear the directory of the disk tier: %w", err)
	}
	if err := os.MkdirAll(aside, 0o700); err != nil {
		return nil, fmt.Errorf("make the directory of the disk tier: %w", err)
	}
	d := &disk{
		dir: dir, most: most, seed: maphash.MakeSeed(), jobs: make(chan *job, mostPending), stop: make(chan struct{}),
		byURL: map[string][]*stored{}, byTag: map[string]map[*stored]struct{}{}, pending: map[*job]struct{}{}, purged: map[string]uint64{},
	}
	d.last.Store(uint64(time.Now().UnixNano()))
	d.index = sieve.New(size-most-mostDescribed, func(_ uint64, s *stored) { d.unlink(s) })
	d.done.Go(d.find)
	d.done.Go(d.work)
	return d, nil
}

// close writes what is pending and ends the background.
func (d *disk) close() error {
	d.mu.Lock()
	d.closed = true
	close(d.stop)
	close(d.jobs)
	d.mu.Unlock()
	d.done.Wait()
	return nil
}

func (d *disk) path(number uint64) string {
	name := strconv.FormatUint(number, 16)
	return filepath.Join(d.dir, name[len(name)-2:], name)
}

// write puts an entry in the queue, or drops it if the disk does not keep up.
func (d *disk) write(url string, e *entry) {
	j := &job{url, e}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed || d.waiting+int64(len(e.body)) > mostPendingBytes {
		d.dropped.Add(1)
		return
	}
	select {
	case d.jobs <- j:
		d.pending[j] = struct{}{}
		d.waiting += int64(len(e.body))
	default:
		d.dropped.Add(1)
	}
}

// work writes what is in the queue.
func (d *disk) work() {
	for j := range d.jobs {
		s, err := d.store(j)
		switch {
		case err != nil:
			d.failed.Add(1)
		case s != nil:
			d.add(s, func() bool { return !j.entry.gone.Load() })
			d.written.Add(1)
		}
		d.mu.Lock() // only now: whoever purges finds it here or among the files
		delete(d.pending, j)
		d.waiting -= int64(len(j.entry.body))
		d.mu.Unlock()
	}
}

// store writes one file. It is nil if the entry is no longer wanted.
func (d *disk) store(j *job) (*stored, error) {
	if j.entry.gone.Load() {
		return nil, nil
	}
	s := &stored{number: d.last.Add(1), url: j.url, tags: j.entry.tags, choice: d.choice(j.entry)}
	aside, final := filepath.Join(d.dir, "aside", strconv.FormatUint(s.number, 16)), d.path(s.number)
	head := encode(j.url, j.entry)
	err := writeFile(aside, head, j.entry.body)
	if err == nil {
		if err = os.Rename(aside, final); os.IsNotExist(err) {
			if err = os.Mkdir(filepath.Dir(final), 0o700); err == nil || os.IsExist(err) {
				err = os.Rename(aside, final)
			}
		}
	}
	if err != nil {
		_ = os.Remove(aside) // it may not be there
		return nil, err
	}
	s.size = roundUp(int64(len(head) + len(j.entry.body)))
	return s, nil
}

func roundUp(n int64) int64 { return (n + block - 1) / block * block }

func writeFile(name string, parts ...[]byte) error {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	for _, part := range parts {
		if _, err := f.Write(part); err != nil {
			_ = f.Close() // the first error counts
			return err
		}
	}
	return f.Close()
}

// add makes a file known, in place of older ones for the same choice, if wanted
// still says so once nothing can be purged meanwhile.
func (d *disk) add(s *stored, wanted func() bool) {
	d.mu.Lock()
	before, purged := d.purged[s.url]
	if !wanted() || purged && s.number <= before {
		d.mu.Unlock()
		d.remove1(s)
		return
	}
	var old []*stored
	for _, o := range d.byURL[s.url] {
		if o.choice != s.choice {
			continue
		}
		if o.number > s.number { // found after a start, when it was written again already
			d.mu.Unlock()
			d.remove1(s)
			return
		}
		old = append(old, o)
	}
	d.byURL[s.url] = append(d.byURL[s.url], s)
	for _, tag := range s.tags {
		if d.byTag[tag] == nil {
			d.byTag[tag] = map[*stored]struct{}{}
		}
		d.byTag[tag][s] = struct{}{}
	}
	d.mu.Unlock()
	d.index.Put(s.number, s, s.size)
	for _, o := range old {
		d.drop(o)
	}
}

// drop forgets a file and removes it.
func (d *disk) drop(s *stored) {
	d.index.Delete(s.number, nil)
	d.unlink(s)
}

// unlink removes a file that the index has not any more.
func (d *disk) unlink(s *stored) {
	d.mu.Lock()
	left := slices.DeleteFunc(d.byURL[s.url], func(o *stored) bool { return o == s })
	if d.byURL[s.url] = left; len(left) == 0 {
		delete(d.byURL, s.url)
	}
	for _, tag := range s.tags {
		delete(d.byTag[tag], s)
		if len(d.byTag[tag]) == 0 {
			delete(d.byTag, tag)
		}
	}
	d.mu.Unlock()
	d.remove1(s)
}

func (d *disk) remove1(s *stored) {
	if err := os.Remove(d.path(s.number)); err != nil && !os.IsNotExist(err) {
		d.failed.Add(1)
	}
}

// read gives the entries of a URL, newest first. Damaged files are removed.
func (d *disk) read(url string) []*entry {
	files := d.files(url)
	var entries []*entry
	for _, s := range slices.Backward(files) {
		d.index.Get(s.number) // it was asked for
		e, err := d.load(s)
		switch {
		case os.IsNotExist(err): // evicted meanwhile
		case err != nil:
			d.damaged.Add(1)
			d.drop(s)
		default:
			entries = append(entries, e)
		}
	}
	return entries
}

func (d *disk) has(url string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.byURL[url]) > 0
}

func (d *disk) files(url string) []*stored {
	d.mu.Lock()
	defer d.mu.Unlock()
	files := slices.Clone(d.byURL[url])
	slices.SortFunc(files, func(a, b *stored) int { return int(int64(a.number) - int64(b.number)) })
	return files
}

func (d *disk) load(s *stored) (*entry, error) {
	f, err := os.Open(d.path(s.number))
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // only read from
	url, e, _, err := decodeFile(f, true, d.most)
	if err == nil && url != s.url {
		err = fmt.Errorf("URL: %w", errDamaged)
	}
	return e, err
}

// remove removes all files of a URL, those that are still to be written
// included, and reports whether there were any.
func (d *disk) remove(url string) bool { return d.removeIf(url, func(uint64) bool { return true }) }

// removeEntry removes the files for one choice.
func (d *disk) removeEntry(url string, e *entry) {
	choice := d.choice(e)
	d.removeIf(url, func(c uint64) bool { return c == choice })
}

func (d *disk) removeIf(url string, is func(choice uint64) bool) (found bool) {
	d.mu.Lock()
	for j := range d.pending {
		if j.url == url && is(d.choice(j.entry)) {
			j.entry.gone.Store(true)
			found = true
		}
	}
	if d.purged != nil {
		d.purged[url] = d.last.Load()
	}
	files := slices.Clone(d.byURL[url])
	d.mu.Unlock()
	for _, s := range files {
		if is(s.choice) {
			d.drop(s)
			found = true
		}
	}
	return found
}

// choice is a hash of what chose an answer among those of its URL.
func (d *disk) choice(e *entry) uint64 {
	var h maphash.Hash
	h.SetSeed(d.seed)
	for _, text := range []string{e.extra, "\x00"} {
		_, _ = h.WriteString(text) // never fails
	}
	for _, s := range e.vary {
		_, _ = fmt.Fprintf(&h, "%q %q %t ", s.name, s.value, s.present)
	}
	return h.Sum64()
}

// urls are those that have files, or will have: some more than once.
func (d *disk) urls() func(yield func(string) bool) {
	d.mu.Lock()
	all := make([]string, 0, len(d.byURL))
	for url := range d.byURL {
		all = append(all, url)
	}
	for j := range d.pending {
		all = append(all, j.url)
	}
	d.mu.Unlock()
	return slices.Values(all)
}

func (d *disk) tagged(tag string) []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	var all []string
	for s := range d.byTag[tag] {
		all = append(all, s.url)
	}
	for j := range d.pending {
		if slices.Contains(j.entry.tags, tag) {
			all = append(all, j.url)
		}
	}
	return all
}

// find looks at the files that an earlier run left.
func (d *disk) find() {
	newest := d.last.Load()
	_ = filepath.WalkDir(d.dir, func(path string, entry fs.DirEntry, err error) error {
		select {
		case <-d.stop:
			return fs.SkipAll
		default:
		}
		switch {
		case err != nil:
			d.failed.Add(1)
			return nil
		case entry.IsDir() && entry.Name() == "aside":
			return fs.SkipDir
		case entry.IsDir():
			return nil
		}
		number, err := strconv.ParseUint(entry.Name(), 16, 64)
		if err != nil || path != d.path(number) || number > newest {
			return nil // not one of ours, or of this run
		}
		d.known(number)
		return nil
	})
	d.mu.Lock()
	d.purged = nil
	d.mu.Unlock()
}

// known makes a file known that is there already, or removes it if it is
// damaged. Its body is checked when it is read.
func (d *disk) known(number uint64) {
	f, err := os.Open(d.path(number))
	if err != nil {
		d.failed.Add(1)
		return
	}
	defer func() { _ = f.Close() }() // only read from
	url, e, p, err := decodeFile(f, false, d.most)
	info, statErr := f.Stat()
	if err != nil || statErr != nil || info.Size() != fileHeader+p.described+p.body {
		d.damaged.Add(1)
		d.remove1(&stored{number: number})
		return
	}
	s := &stored{number: number, url: url, tags: e.tags, choice: d.choice(e), size: roundUp(info.Size())}
	d.add(s, func() bool { return true })
}
