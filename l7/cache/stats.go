package cache

import (
	"bytes"
	"cmp"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"time"
)

// counters count since the start.
type counters struct {
	hits, misses, collapsed, stored, validated atomic.Int64
	staleOnError, evictions, purged, fromDisk  atomic.Int64
	bytes                                      atomic.Int64
}

// Stats are counters since the start, and sizes now.
type Stats struct {
	Hits         int64 `json:"hits"`           // answered without asking the origin
	Misses       int64 `json:"misses"`         // GET and HEAD that could not be
	Collapsed    int64 `json:"collapsed"`      // of these, those that waited for an equal one
	Stored       int64 `json:"stored"`         // answers
	Validated    int64 `json:"validated"`      // by 304
	StaleOnError int64 `json:"stale_on_error"` // given although stale, as the origin failed
	Evictions    int64 `json:"evictions"`      // URLs, for want of memory
	Purged       int64 `json:"purged"`         // URLs
	Bytes        int64 `json:"bytes"`          // of bodies, given from what is stored

	URLs      int   `json:"urls"`       // in memory, those that cannot be stored included
	Memory    int64 `json:"memory"`     // bytes in use
	MemoryMax int64 `json:"memory_max"` // bytes
	Filling   int64 `json:"filling"`    // bytes of answers that are arriving

	Disk *DiskStats `json:"disk,omitempty"` // nil: no disk tier
}

// DiskStats are those of the disk tier.
type DiskStats struct {
	Files   int   `json:"files"`
	Bytes   int64 `json:"bytes"`
	Max     int64 `json:"max"`
	Hits    int64 `json:"hits"`    // URLs that memory had lost
	Written int64 `json:"written"` // files
	Dropped int64 `json:"dropped"` // not written, as the disk did not keep up
	Damaged int64 `json:"damaged"` // files that did not hold what was written
	Failed  int64 `json:"failed"`  // operations
}

// Stats are of now; they are not of one moment.
func (c *Cache) Stats() Stats {
	n := &c.stats
	s := Stats{
		Hits: n.hits.Load(), Misses: n.misses.Load(), Collapsed: n.collapsed.Load(), Stored: n.stored.Load(),
		Validated: n.validated.Load(), StaleOnError: n.staleOnError.Load(), Evictions: n.evictions.Load(),
		Purged: n.purged.Load(), Bytes: n.bytes.Load(), Filling: c.filling.Load(),
		URLs: c.store.all.EstimatedSize(), Memory: int64(c.store.all.WeightedSize()), MemoryMax: c.Memory,
	}
	if d := c.disk; d != nil {
		s.Disk = &DiskStats{
			Files: d.index.Len(), Bytes: d.index.Weight(), Max: c.DiskBytes, Hits: n.fromDisk.Load(),
			Written: d.written.Load(), Dropped: d.dropped.Load(), Damaged: d.damaged.Load(), Failed: d.failed.Load(),
		}
	}
	return s
}

// Entry is one stored answer, for people.
type Entry struct {
	URL    string            `json:"url"`
	Status int               `json:"status"`
	Header []string          `json:"header"` // lines
	Length int64             `json:"length"` // bytes of the body
	Age    time.Duration     `json:"age"`
	TTL    time.Duration     `json:"ttl"`            // less than 0: stale since
	Vary   map[string]string `json:"vary,omitempty"` // fields of the request that chose it
	Tags   []string          `json:"tags,omitempty"`
}

// Entries are the stored answers of a URL, in memory or on disk, newest first.
// An error says what is wrong with the URL.
func (c *Cache) Entries(text string) ([]Entry, error) {
	u, err := parseURL(text)
	if err != nil {
		return nil, err
	}
	now := time.Now().UnixNano()
	var all []Entry
	for _, url := range c.urlsOf(u) {
		r := c.lookup([]byte(url))
		if r == nil {
			continue
		}
		for _, e := range r.variants {
			all = append(all, e.show(url, now))
		}
	}
	slices.SortStableFunc(all, func(a, b Entry) int { return cmp.Compare(a.Age, b.Age) })
	return all, nil
}

func (e *entry) show(url string, now int64) Entry {
	v := Entry{URL: url, Status: e.status, Length: e.length, Age: time.Duration(e.age(now)), TTL: time.Duration(e.left(now)), Tags: e.tags}
	for i := range e.fields {
		v.Header = append(v.Header, string(bytes.TrimRight(e.head[e.fields[i].start:e.fields[i].end], "\r\n")))
	}
	for _, s := range e.vary {
		if v.Vary == nil {
			v.Vary = map[string]string{}
		}
		v.Vary[s.name] = s.value
	}
	return v
}

// parseURL reads an absolute URL of http or https.
func parseURL(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	if err != nil {
		return nil, fmt.Errorf("URL %q: %w", text, err)
	}
	u.Scheme = strings.ToLower(u.Scheme)
	if u.Scheme != "http" && u.Scheme != "https" || u.User != nil {
		return nil, fmt.Errorf("URL %q: must be like https://www.example.org/path", text)
	}
	if u.Path == "" {
		u.Path = "/"
	}
	return u, nil
}
