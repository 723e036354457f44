package cache

import (
	"fmt"
	"hash/maphash"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
)

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
