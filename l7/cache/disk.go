package cache

import (
	"fmt"
	"hash/maphash"
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
	if !d.keeps(s) { // it was purged before the index knew it
		d.index.Delete(s.number, nil)
	}
	for _, o := range old {
		d.drop(o)
	}
}

func (d *disk) keeps(s *stored) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Contains(d.byURL[s.url], s)
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
