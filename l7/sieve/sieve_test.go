package sieve

import (
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
)

func keys(m *Map[string, int]) (all []string) {
	for k := range m.All() {
		all = append(all, k)
	}
	slices.Sort(all)
	return all
}

func TestForgetsWhatNobodyAsksFor(t *testing.T) {
	var gone []string
	m := New(3, func(k string, _ int) { gone = append(gone, k) })
	for i, k := range []string{"a", "b", "c"} {
		m.Put(k, i, 1)
	}
	if v, ok := m.Get("a"); !ok || v != 0 {
		t.Fatalf("a is %v, %v", v, ok)
	}
	if _, ok := GetBytes(m, []byte("b")); !ok {
		t.Fatal("b is missing")
	}
	m.Put("d", 3, 1) // a and b were asked for
	m.Put("e", 4, 2) // they no longer count as such: the hand took their bits
	if want := []string{"c", "a", "b"}; !slices.Equal(gone, want) {
		t.Errorf("gone %q, want %q", gone, want)
	}
	if got := keys(m); !slices.Equal(got, []string{"d", "e"}) || m.Weight() != 3 || m.Len() != 2 {
		t.Errorf("left %q of weight %d", got, m.Weight())
	}
	m.Put("big", 5, 4)
	if got := keys(m); !slices.Equal(got, []string{"d", "e"}) || gone[len(gone)-1] != "big" {
		t.Errorf("after one too big: %q, gone %q", got, gone)
	}
}

func TestPutAndDelete(t *testing.T) {
	m := New[string, int](10, nil)
	m.Put("a", 1, 4)
	if old, had := m.Put("a", 2, 5); !had || old != 1 || m.Weight() != 5 {
		t.Errorf("old %v, %v, weight %d", old, had, m.Weight())
	}
	if _, ok := m.Delete("a", func(v int) bool { return v == 1 }); ok {
		t.Error("deleted another value")
	}
	if v, ok := m.Delete("a", nil); !ok || v != 2 || m.Weight() != 0 {
		t.Errorf("deleted %v, %v", v, ok)
	}
	if _, ok := m.Get("a"); ok {
		t.Error("still there")
	}
}

func TestWeightIsKept(t *testing.T) {
	var mu sync.Mutex
	held := map[int]int64{}
	m := New(1000, func(k int, w int64) {
		mu.Lock()
		defer mu.Unlock()
		held[k] -= w
	})
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for range 5000 {
				k, w := rand.IntN(300), rand.Int64N(50)
				m.Get(rand.IntN(300))
				old, had := m.Put(k, w, w)
				mu.Lock()
				held[k] += w
				if had {
					held[k] -= old
				}
				mu.Unlock()
				if total := m.Weight(); total > 1000 {
					t.Errorf("weight %d", total)
				}
			}
		})
	}
	all.Wait()
	total := int64(0)
	for k, v := range m.All() {
		total += v
		if held[k] != v {
			t.Errorf("%d: put and not evicted %d, there %d", k, held[k], v)
		}
	}
	if total != m.Weight() {
		t.Errorf("weight %d, sum %d", m.Weight(), total)
	}
}
