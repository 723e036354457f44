package balance

import (
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"

	"weir/l7/exchange"
	"weir/loader/lb"
)

// members are as many as there are weights, by their last byte.
func members(weights ...lb.EffectiveWeight) (all []Member) {
	for i, w := range weights {
		addr := netip.MustParseAddrPort(fmt.Sprintf("192.0.2.%d:80", i))
		all = append(all, Member{&Endpoint{Addr: addr}, w})
	}
	return all
}

// picks counts n picks, each of which ends at once.
func picks(t *testing.T, p Picker, all []Member, n int) []int {
	t.Helper()
	counts := make([]int, len(all))
	for key := range n {
		i := p.Pick(uint64(key)*0x9e3779b97f4a7c15, nil)
		if i < 0 {
			t.Fatalf("nothing was picked after %v", counts)
		}
		counts[i]++
		all[i].End()
	}
	return counts
}

func TestShares(t *testing.T) {
	for _, c := range []struct {
		a    Algorithm
		want []float64
		off  float64
	}{
		{RoundRobin, []float64{1. / 3, 1. / 3, 0, 1. / 3}, 0.001},
		{Weighted, []float64{1. / 6, 2. / 6, 0, 3. / 6}, 0.001},
		{LeastConn, []float64{1. / 6, 2. / 6, 0, 3. / 6}, 0.001},
		{Random, []float64{1. / 6, 2. / 6, 0, 3. / 6}, 0.02},
		{Maglev, []float64{1. / 6, 2. / 6, 0, 3. / 6}, 0.02},
	} {
		t.Run(string(c.a), func(t *testing.T) {
			all := members(64, 128, 0, 192)
			p, err := New(c.a, all, 1)
			if err != nil {
				t.Fatal(err)
			}
			const n = 60_000
			for i, got := range picks(t, p, all, n) {
				if math.Abs(float64(got)/n-c.want[i]) > c.off {
					t.Errorf("member %d got %d of %d, want %.3f", i, got, n, c.want[i])
				}
			}
		})
	}
}

// TestAvoidAndLimit: what is full or to be avoided is not picked, however much
// weight it has, and -1 is the answer when nothing else is left.
func TestAvoidAndLimit(t *testing.T) {
	for _, a := range []Algorithm{RoundRobin, Weighted, LeastConn, Random, Maglev} {
		t.Run(string(a), func(t *testing.T) {
			all := members(6400, 64, 64, 0)
			for i := range all {
				all[i].Limit = 2
			}
			p, err := New(a, all, 1)
			if err != nil {
				t.Fatal(err)
			}
			var got []int
			for key := range 5 {
				got = append(got, p.Pick(uint64(key), []int{0}))
			}
			slices.Sort(got)
			if !slices.Equal(got, []int{-1, 1, 1, 2, 2}) {
				t.Errorf("avoiding the first: %v", got)
			}
			if a, b, c := p.Pick(1, nil), p.Pick(2, nil), p.Pick(3, nil); a != 0 || b != 0 || c != -1 {
				t.Errorf("the first has room for two: %d %d %d", a, b, c)
			}
			all[2].End()
			if i := p.Pick(1, nil); i != 2 {
				t.Errorf("picked %d where only 2 has room", i)
			}
		})
	}
}

func TestNothingToPick(t *testing.T) {
	for _, a := range []Algorithm{RoundRobin, Weighted, LeastConn, Random, Maglev} {
		for _, all := range [][]Member{nil, members(0, 0)} {
			p, err := New(a, all, 1)
			if err != nil {
				t.Fatal(err)
			}
			if i := p.Pick(1, nil); i != -1 {
				t.Errorf("%s of %d: %d", a, len(all), i)
			}
		}
	}
	if _, err := New("best", nil, 0); err == nil || !strings.Contains(err.Error(), "best") {
		t.Errorf("unknown algorithm: %v", err)
	}
}

// TestLeastIsExact: with any number of goroutines at once, no pick goes to a
// member that is busier by its weight than another.
func TestLeastIsExact(t *testing.T) {
	all := members(64, 64, 128, 256)
	p, err := New(LeastConn, all, 0)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 1000 {
				p.Pick(0, nil)
			}
		})
	}
	wg.Wait()
	for i, want := range []int64{1000, 1000, 2000, 4000} {
		if got := all[i].Active(); got != want {
			t.Errorf("member %d has %d, want %d", i, got, want)
		}
	}
	for range 500 { // the first becomes idle: all that follows goes there
		all[0].End()
	}
	for range 500 {
		if i := p.Pick(0, nil); i != 0 {
			t.Fatalf("picked %d while the first is least busy", i)
		}
	}
}

// TestRandomAvoidsTheBusy: of two choices the less busy one is taken.
func TestRandomAvoidsTheBusy(t *testing.T) {
	all := members(64, 64)
	p, err := New(Random, all, 0)
	if err != nil {
		t.Fatal(err)
	}
	for range 100 {
		all[0].Begin()
	}
	counts := picks(t, p, all, 10_000)
	if share := float64(counts[0]) / 10_000; share < 0.2 || share > 0.3 {
		t.Errorf("the busy one got %.2f, want a quarter: when it is drawn twice", share)
	}
}

// TestMaglevKeeps: the order does not matter, and few keys move when a member
// goes.
func TestMaglevKeeps(t *testing.T) {
	all := members(64, 64, 64, 64, 64)
	p, _ := New(Maglev, all, 7)
	turned := slices.Clone(all)
	slices.Reverse(turned)
	q, _ := New(Maglev, turned, 7)
	fewer, _ := New(Maglev, all[:4], 7)
	moved := 0
	for key := range uint64(10_000) {
		i := p.Pick(key, nil)
		if j := q.Pick(key, nil); all[i].Addr != turned[j].Addr {
			t.Fatalf("key %d depends on the order", key)
		}
		if j := fewer.Pick(key, nil); i != 4 && j != i {
			moved++
		}
	}
	if moved > 500 {
		t.Errorf("%d of 10000 keys moved from members that stayed", moved)
	}
}

func TestSticky(t *testing.T) {
	key, other := []byte(strings.Repeat("a", 32)), []byte(strings.Repeat("b", 32))
	sticky := func(pool string, keys ...[]byte) *Bound {
		s, err := NewSticky(StickyOptions{Cookie: "c", Pool: pool, Keys: keys})
		if err != nil {
			t.Fatal(err)
		}
		return s.Bind(members(64, 0, 64))
	}
	bound := sticky("p", key)
	for i := range 3 {
		cookie, attributes, _ := strings.Cut(string(bound.SetCookie(i)), ";")
		if attributes != " Path=/; HttpOnly; SameSite=Lax" || strings.Contains(cookie, "192.0.2") {
			t.Errorf("%s;%s", cookie, attributes)
		}
		for _, c := range []struct {
			name   string
			bound  *Bound
			cookie string
			want   int
		}{
			{"own", bound, cookie, i},
			{"among others", bound, "a=b; " + cookie + "; d=e", i},
			{"behind a wrong one", bound, "c=x; " + cookie, i},
			{"another node", sticky("p", key), cookie, i},
			{"an older key", sticky("p", other, key), cookie, i},
			{"another key", sticky("p", other), cookie, -1},
			{"another pool", sticky("q", key), cookie, -1},
			{"another name", bound, "x" + cookie, -1},
			{"changed", bound, cookie + "x", -1},
			{"empty", bound, "", -1},
		} {
			var h exchange.Header
			h.Add("Cookie", []byte(c.cookie))
			if got := c.bound.Find(&h); got != c.want {
				t.Errorf("%s of member %d: %d", c.name, i, got)
			}
		}
	}
	if i := bound.Find(&exchange.Header{}); i != -1 {
		t.Errorf("without a cookie: %d", i)
	}
}

func TestStickyRefused(t *testing.T) {
	key := make([]byte, 32)
	for _, c := range []struct {
		o    StickyOptions
		want string
	}{
		{StickyOptions{Keys: [][]byte{key}}, "name"},
		{StickyOptions{Cookie: "a b", Keys: [][]byte{key}}, "a b"},
		{StickyOptions{Cookie: "a"}, "no key"},
		{StickyOptions{Cookie: "a", Keys: [][]byte{key, key[:31]}}, "31 bytes"},
		{StickyOptions{Cookie: "a", Keys: [][]byte{key}, Path: "/;x"}, "path"},
	} {
		if _, err := NewSticky(c.o); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v", c.o, err)
		}
	}
}
