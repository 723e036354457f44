package bpf_test

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"

	"github.com/cilium/ebpf"

	"weir/bpf/model"
)

// event is one thing that happens to a world: a frame, or without one, time
// passes or a set of the flow table gets other flows.
type event struct {
	iface string
	frame []byte
	age   uint16
	fill  uint64 // seed of the flows
}

// String is a line of a replay.
func (e event) String() string {
	switch {
	case e.frame != nil:
		return e.iface + " " + hex.EncodeToString(e.frame)
	case e.age != 0:
		return fmt.Sprint("age ", e.age)
	}
	return fmt.Sprint("fill ", e.fill)
}

// parseReplay reads what report writes: a line that names the world, and lines
// as String writes them. What follows a # does not count.
func parseReplay(text string) (world string, out []event, err error) {
	for line := range strings.Lines(text) {
		line, _, _ = strings.Cut(line, "#")
		word, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		e := event{}
		switch word {
		case "":
			continue
		case "world":
			world = rest
			continue
		case "age":
			var n uint64
			n, err = strconv.ParseUint(rest, 10, 16)
			e.age = uint16(n)
		case "fill":
			e.fill, err = strconv.ParseUint(rest, 10, 64)
		default:
			e.iface = word
			e.frame, err = hex.DecodeString(rest)
		}
		if err != nil {
			return "", nil, fmt.Errorf("replay line %q: %w", line, err)
		}
		out = append(out, e)
	}
	return world, out, nil
}

// reset makes the world as it was when it was new.
func (w *world) reset() {
	pairs := slices.Clone(w.model.Pairs.Touched)
	flows := slices.Clone(w.model.Flows.Touched)
	frags := slices.Clone(w.model.Fragments.Touched)
	w.model.Reset()
	for _, set := range frags {
		clear(w.frags[8*set:][:8])
	}
	for _, set := range pairs {
		if w.kind.fill > 1 && set%w.kind.fill != 0 {
			w.model.Pairs.Sets[set] = foreign()
		}
		w.writeSet(w.pairs, &w.model.Pairs, set)
	}
	for _, set := range flows {
		w.writeSet(w.flows, &w.model.Flows, set)
	}
	for _, b := range w.all {
		w.active[b.ID] = 0
		for row := int(b.ID); row < len(w.stats)/statWords; row += w.rows {
			clear(w.stats[row*statWords:][:statWords])
		}
	}
	clear(w.cursors)
	clear(w.drops)
	w.writeDebts()
}

const statWords = 8 // of struct backend_stats

func (w *world) writeSet(words []uint64, t *model.Table, set int) {
	for i, f := range t.Sets[set] {
		words[set*8+i] = f.Word()
	}
}

// step makes an event happen to both, and says what differs afterwards.
func (w *world) step(e event) (string, error) {
	switch {
	case e.frame != nil:
		return w.packet(e)
	case e.age != 0:
		w.model.Flows.Age(e.age)
		w.model.Pairs.Age(e.age)
		w.model.Fragments.Age(e.age)
		for _, set := range w.model.Fragments.Touched {
			for i, f := range w.model.Fragments.Sets[set] {
				w.frags[8*set+i] = f.Word()
			}
		}
		for _, set := range w.model.Pairs.Touched {
			w.writeSet(w.pairs, &w.model.Pairs, set)
		}
		w.passTime(e.age)
	default:
		w.fill(rand.New(rand.NewPCG(e.fill, 0)))
	}
	for _, set := range w.model.Flows.Touched {
		w.writeSet(w.flows, &w.model.Flows, set)
	}
	return "", nil
}

// fill gives a set of the flow table any flows.
func (w *world) fill(r *rand.Rand) {
	set := r.IntN(len(w.model.Flows.Sets))
	for i := range 8 {
		w.model.Forget(set, i)
		if r.IntN(4) > 0 {
			w.model.Put(set, i, model.Flow{
				Tag: r.Uint32() | 1, ID: w.all[r.IntN(len(w.all))].ID,
				Time: uint16(-r.IntN(1<<r.IntN(12))) & 0x7ff, State: model.State(1 + r.IntN(6)),
			})
		}
	}
	for _, b := range w.all {
		w.active[b.ID] = b.Counters.Active
	}
}

// packet runs a frame through both.
func (w *world) packet(e event) (string, error) {
	ifindex := w.lab.ifindex[e.iface]
	v, out, err := w.run.run(ifindex, e.frame)
	if err != nil {
		return "", err
	}
	flows, pairs, sources := len(w.model.Flows.Touched), len(w.model.Pairs.Touched), len(w.model.SourcesTouched)
	frags := len(w.model.Fragments.Touched)
	w.last = w.model.Process(model.Input{Frame: e.frame, Ingress: ifindex, Answer: v == tx})
	for _, r := range w.last.Reasons {
		w.expect[r]++
	}
	if w.last.Limited && v == drop {
		if err := w.lab.nextAnswers(); err != nil {
			return "", err
		}
	}
	if model.Verdict(v) != w.last.Verdict || !bytes.Equal(out, w.last.Frame) {
		return fmt.Sprintf("the model's verdict is %v %q, the program's %v\n%s",
			verdict(w.last.Verdict), w.last.Reasons, v, difference(e.frame, w.last.Frame, out)), nil
	}
	if diff := w.compareSets("flows", w.flows, &w.model.Flows, flows); diff != "" {
		return diff, nil
	}
	if diff := w.compareFragments(w.model.Fragments.Touched[frags:]); diff != "" {
		return diff, nil
	}
	if diff := w.debts(sources); diff != "" {
		return diff, nil
	}
	return w.compareSets("snat_flows", w.pairs, &w.model.Pairs, pairs), nil
}

func (w *world) compareFragments(sets []int) string {
	for _, set := range sets {
		for i, f := range w.model.Fragments.Sets[set] {
			if got := w.frags[8*set+i]; got != f.Word() {
				return fmt.Sprintf("fragments: set %d, slot %d: the model has %+v, the program %#x", set, i, f, got)
			}
		}
	}
	return ""
}

// compareSets looks at the sets that were touched since a number of them were.
func (w *world) compareSets(name string, words []uint64, t *model.Table, since int) string {
	for _, set := range t.Touched[since:] {
		if diff := w.compareSet(name, words, t, set); diff != "" {
			return diff
		}
	}
	return ""
}

func (w *world) compareSet(name string, words []uint64, t *model.Table, set int) string {
	for i, f := range t.Sets[set] {
		if got := words[set*8+i]; got != f.Word() {
			return fmt.Sprintf("%s: set %d, slot %d: the model has %+v, the program %s", name, set, i, f, wordString(got))
		}
	}
	return ""
}

func wordString(word uint64) string {
	return fmt.Sprintf("{Tag:%d ID:%d Time:%d State:%d}", word>>32, word>>14&0x3ffff, word>>3&0x7ff, word&7)
}

// counters says how the counters differ that step does not look at.
func (w *world) counters() (string, error) {
	var diff []string
	for _, b := range w.all {
		got := model.Counters{Active: w.active[b.ID]}
		for row := int(b.ID); row < len(w.stats)/statWords; row += w.rows {
			s := w.stats[row*statWords:]
			got.Packets, got.Bytes = got.Packets+s[0], got.Bytes+s[1]
			got.ReplyPackets, got.ReplyBytes = got.ReplyPackets+s[2], got.ReplyBytes+s[3]
			got.Flows, got.Unstored = got.Flows+s[4], got.Unstored+s[5]
		}
		if got != b.Counters {
			diff = append(diff, fmt.Sprintf("backend %d: the model counts %+v, the program %+v", b.ID, b.Counters, got))
		}
	}
	diff = append(diff, w.refusals()...)
	moved, err := w.countReasons()
	if err != nil {
		return "", err
	}
	for i, name := range w.names {
		if moved[i] != w.expect[name] {
			diff = append(diff, fmt.Sprintf("%s: the model counts %d, the program %d", name, w.expect[name], moved[i]))
		}
	}
	clear(w.expect)
	return strings.Join(diff, "\n"), nil
}

// countReasons says by how much each counter of reasons went up.
func (w *world) countReasons() ([]uint64, error) {
	moved := make([]uint64, len(w.names))
	perCPU := make([]uint64, ebpf.MustPossibleCPU())
	for i := range w.names {
		if err := w.reasons.Lookup(uint32(i), &perCPU); err != nil {
			return nil, fmt.Errorf("read map reasons: %w", err)
		}
		total := uint64(0)
		for _, n := range perCPU {
			total += n
		}
		moved[i], w.counted[i] = total-w.counted[i], total
	}
	return moved, nil
}

// tables compares every flow and every source.
func (w *world) tables() string {
	for set := range w.model.Flows.Sets {
		if diff := w.compareSet("flows", w.flows, &w.model.Flows, set); diff != "" {
			return diff
		}
	}
	for set := range w.model.Pairs.Sets {
		if diff := w.compareSet("snat_flows", w.pairs, &w.model.Pairs, set); diff != "" {
			return diff
		}
	}
	return ""
}

// replay runs events in a fresh world and stops at the first that makes a
// difference: its index and what differs. All counters are looked at each time.
func (w *world) replay(events []event) (int, string, error) {
	w.reset()
	if _, err := w.counters(); err != nil {
		return 0, "", err
	}
	for i, e := range events {
		diff, err := w.step(e)
		if diff == "" && err == nil {
			diff, err = w.counters()
		}
		if diff != "" || err != nil {
			return i, diff, err
		}
	}
	return len(events), "", nil
}

// reduce leaves out events for as long as some difference stays.
func (w *world) reduce(events []event) ([]event, error) {
	differs := func(es []event) (bool, error) {
		_, diff, err := w.replay(es)
		return diff != "", err
	}
	for step := len(events) / 2; step > 0; step /= 2 {
		for at := len(events) - step; at >= 0; at -= step {
			if at+step > len(events) {
				continue
			}
			fewer := slices.Delete(slices.Clone(events), at, at+step)
			bad, err := differs(fewer)
			if err != nil {
				return nil, err
			}
			if bad {
				events = fewer
			}
		}
	}
	return events, nil
}

// report describes a difference so that it can be run again.
func (w *world) report(events []event) string {
	small, err := w.reduce(events)
	if err != nil {
		return err.Error()
	}
	at, diff, err := w.replay(small)
	if err != nil {
		return err.Error()
	}
	var b strings.Builder
	fmt.Fprintf(&b, "to see it again, as a file in testdata/replays; line %d differs:\nworld %s\n", at+2, w.kind.name)
	for _, e := range small {
		fmt.Fprintln(&b, e)
	}
	if diff == "" {
		diff = "no difference when run again"
	}
	b.WriteString(diff)
	return b.String()
}
