package bpf_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

const (
	sequence    = 256 // events that begin with a fresh world
	wholeTables = 64  // sequences between looks at all flows
)

// TestModel runs generated packets through the program and through the model:
// verdicts, bytes, counters and flows must agree. WEIR_PACKETS says how many,
// WEIR_SEED from which seed on.
func TestModel(t *testing.T) {
	otherwise := uint64(500_000)
	if testing.Short() {
		otherwise = 50_000
	}
	packets := setting(t, "WEIR_PACKETS", otherwise)
	seed := setting(t, "WEIR_SEED", 1)
	for i, k := range worldKinds {
		t.Run(k.name, func(t *testing.T) {
			t.Parallel()
			newWorld(t, k).agrees(t, seed+uint64(i)<<32, packets/uint64(len(worldKinds))+1)
		})
	}
}

func setting(t *testing.T, name string, otherwise uint64) uint64 {
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.ParseUint(text, 10, 62)
	if err != nil {
		t.Fatalf("%s=%s: %v", name, text, err)
	}
	return n
}

// agrees runs sequences, each from a seed of its own.
func (w *world) agrees(t *testing.T, seed, packets uint64) {
	begun, said := time.Now(), time.Now()
	total := uint64(0)
	verdicts := map[string]int{}
	err := w.lab.ns.Do(func() error {
		for n := uint64(0); total < packets && !t.Failed(); n++ {
			count, err := w.runSequence(t, seed+n, newTraffic(w, newDice(seed+n)), verdicts)
			if err != nil {
				return err
			}
			total += count
			if n%wholeTables == 0 {
				if diff := w.tables(); diff != "" {
					t.Errorf("after the sequence of seed %d: %s", seed+n, diff)
				}
			}
			if time.Since(said) > 5*time.Second {
				said = time.Now()
				t.Logf("%d of %d packets, %.0f a second", total, packets, float64(total)/time.Since(begun).Seconds())
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d packets in %v, no difference: %v", total, time.Since(begun).Round(time.Millisecond), verdicts)
}

// runSequence runs one sequence and counts its packets.
func (w *world) runSequence(t *testing.T, seed uint64, g *traffic, verdicts map[string]int) (packets uint64, err error) {
	w.reset()
	var events []event
	for range sequence {
		if g.spent() {
			break
		}
		e := g.next()
		events = append(events, e)
		diff, err := w.step(e)
		if err != nil {
			return 0, err
		}
		if diff != "" {
			t.Errorf("seed %d, event %d: %s\n%s", seed, len(events), diff, w.report(events))
			return packets, nil
		}
		if e.frame == nil {
			continue
		}
		packets++
		if verdicts != nil {
			verdicts[fmt.Sprint(w.last.Reasons)]++
		}
		if !w.last.Limited {
			g.learn(e.frame, w.last)
		}
	}
	diff, err := w.counters()
	if diff != "" {
		t.Errorf("seed %d, counters: %s\n%s", seed, diff, w.report(events))
	}
	return packets, err
}

// TestReplays runs what once made a difference.
func TestReplays(t *testing.T) {
	files, err := filepath.Glob("testdata/replays/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no replays (%v)", err)
	}
	worlds := map[string]*world{}
	for _, k := range worldKinds {
		worlds[k.name] = newWorld(t, k)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			name, events, err := parseReplay(string(text))
			w := worlds[name]
			if err != nil || w == nil {
				t.Fatalf("world %q: %v", name, err)
			}
			err = w.lab.ns.Do(func() error {
				at, diff, err := w.replay(events)
				if diff != "" {
					t.Errorf("event %d: %s", at+1, diff)
				}
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
		})
	}
}

// FuzzPath lets the fuzzer choose the traffic.
func FuzzPath(f *testing.F) {
	for seed := range uint64(8) {
		d := newDice(seed)
		b := make([]byte, 400)
		for i := range b {
			b[i] = byte(d.n(256))
		}
		f.Add(b)
	}
	w := newWorld(f, worldKinds[0])
	f.Fuzz(func(t *testing.T, choices []byte) {
		err := w.lab.ns.Do(func() error {
			_, err := w.runSequence(t, 0, newTraffic(w, &script{choices}), nil)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	})
}
