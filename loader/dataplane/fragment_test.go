package dataplane

import (
	"testing"

	"weir/bpf"
	"weir/loader/lb"
)

func fragmentWord(id, time uint32, kind bpf.WeirFragmentKind) uint64 {
	return 77<<32 | uint64(id)<<fragmentValueShift | uint64(time&fragmentTimeMask)<<fragmentTimeShift | uint64(kind)
}

// A sweep forgets fragments that have had their time, and no others: one that
// comes later must not find them when the clock comes round.
func TestSweepForgetsFragments(t *testing.T) {
	d := openTest(t, Options{Config: testConfig(t)})
	now := d.clock.now()
	words := d.mem.frags[3].Word[:]
	for i, c := range []struct {
		age   int32
		stays bool
	}{{-1, true}, {0, true}, {fragmentAge, true}, {fragmentAge + 2, false}, {100, false}, {253, false}} {
		words[i] = fragmentWord(0, now-uint32(c.age), bpf.WeirFragmentKindFRAGMENT_LOCAL)
		if expired := fragmentExpired(words[i], now); expired == c.stays {
			t.Errorf("age %d: expired is %v", c.age, expired)
		}
	}
	if _, err := d.Sweep(); err != nil {
		t.Fatal(err)
	}
	if words[1] == 0 || words[4] != 0 || words[5] != 0 {
		t.Errorf("after the sweep: %#x, want the first to stay and the last two to go", words)
	}
}

// A backend's id is nobody else's while fragments follow it.
func TestFragmentsHoldTheirBackend(t *testing.T) {
	d := openTest(t, Options{Config: testConfig(t)})
	if err := d.Apply(stateOf(t, "192.0.2.1:80/tcp", lb.DSR, lb.RoundRobin, "10.0.0.1:0")); err != nil {
		t.Fatal(err)
	}
	var id uint32
	for id = range d.registry.backends {
	}
	at := &d.mem.frags[5].Word[2]
	*at = fragmentWord(id, d.clock.now(), bpf.WeirFragmentKindFRAGMENT_REQUEST)
	if err := d.Apply(lb.State{}); err != nil {
		t.Fatal(err)
	}
	sweepTwice(t, d)
	if d.registry.backends[id] == nil {
		t.Error("the backend was freed while a fragment's word names it")
	}
	*at = 0
	sweepTwice(t, d)
	if d.registry.backends[id] != nil {
		t.Error("the backend was not freed")
	}
}

func sweepTwice(t *testing.T, d *DataPlane) {
	t.Helper()
	for range 2 {
		if _, err := d.Sweep(); err != nil {
			t.Fatal(err)
		}
	}
}

// Interfaces that tag are in the map as long as the state has them, and the
// program looks at tags from then on, also after a restart.
func TestVLANsOfState(t *testing.T) {
	c := testConfig(t)
	d := openTest(t, Options{Config: c})
	if d.features.vlan {
		t.Fatal("the program looks at tags where no interface has them")
	}
	one := lb.VLAN{IfIndex: 7, Below: 2, Tags: [lb.MaxTags]lb.Tag{{Kind: 0x8100, ID: 5}}}
	two := lb.VLAN{IfIndex: 8, Below: 2, Tags: [lb.MaxTags]lb.Tag{{Kind: 0x88a8, ID: 6}, {Kind: 0x8100, ID: 7}}}
	for _, want := range [][]lb.VLAN{{one}, {one, two}, {two}} {
		if err := d.Apply(lb.State{VLANs: want}); err != nil {
			t.Fatal(err)
		}
		have, err := d.pinnedVLANs()
		if err != nil || len(have) != len(want) || !d.features.vlan {
			t.Fatalf("the map has %v (%v), want %v", have, err, want)
		}
		for _, v := range want {
			if have[uint32(v.IfIndex)] != vlanEntry(v) {
				t.Errorf("interface %d is %+v in the map", v.IfIndex, have[uint32(v.IfIndex)])
			}
		}
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if d = openTest(t, Options{Config: c}); !d.features.vlan {
		t.Error("after a restart the program does not look at tags")
	}
}
