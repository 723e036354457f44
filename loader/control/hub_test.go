package control

import (
	"testing"

	"weir/loader/lb"
)

func TestSlowListenerLosesRecords(t *testing.T) {
	h := newHub()
	slow, fast := h.subscribe(2), h.subscribe(100)
	for range 10 {
		h.publish(lb.Event{Kind: KindConfig})
	}
	<-slow.C()
	<-slow.C()
	h.publish(lb.Event{Kind: KindTable})
	if e := <-slow.C(); e.Kind != KindLost || e.Sampled != 8 || e.Message != "8 records lost: the listener was too slow" {
		t.Errorf("after a gap of 8: %+v", e)
	}
	if e := <-slow.C(); e.Kind != KindTable {
		t.Errorf("after the gap: %+v", e)
	}
	if n := len(fast.C()); n != 11 {
		t.Errorf("the fast listener has %d records, want 11", n)
	}
}

func TestGapThatGrowsWhileFull(t *testing.T) {
	h := newHub()
	s := h.subscribe(1)
	for range 3 {
		h.publish(lb.Event{Kind: KindConfig})
	}
	<-s.C()
	h.publish(lb.Event{Kind: KindTable}) // the count takes the only place
	if e := <-s.C(); e.Kind != KindLost || e.Sampled != 2 {
		t.Errorf("%+v, want 2 lost", e)
	}
	h.publish(lb.Event{Kind: KindTable})
	if e := <-s.C(); e.Kind != KindLost || e.Sampled != 1 {
		t.Errorf("%+v, want 1 lost", e)
	}
}

func TestEventsHaveATime(t *testing.T) {
	h := newHub()
	s := h.subscribe(1)
	h.publish(lb.Event{Kind: KindConfig})
	if e := <-s.C(); e.Time.IsZero() {
		t.Error("event without a time")
	}
}
