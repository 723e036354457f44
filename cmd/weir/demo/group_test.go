package demo

import (
	"errors"
	"strings"
	"testing"
)

func TestGroupJoinsErrorsAndPanics(t *testing.T) {
	failures := 0
	g := group{}
	g.failed = func() { g.mu.Lock(); failures++; g.mu.Unlock() }
	want := errors.New("of f")
	g.run(func() error { return nil })
	g.run(func() error { return want })
	g.run(func() error { panic("in a goroutine") })
	err := g.wait()
	if !errors.Is(err, want) || !strings.Contains(err.Error(), "panic: in a goroutine") {
		t.Errorf("joined %v", err)
	}
	if failures != 2 {
		t.Errorf("told of %d failures, want 2", failures)
	}
}

func TestTearDownGoesBackwards(t *testing.T) {
	var order strings.Builder
	d := &demo{}
	for _, name := range []string{"a", "b", "c"} {
		d.onEnd(func() error { order.WriteString(name); return errors.New(name) })
	}
	err := d.tearDown()
	if order.String() != "cba" || err == nil || err.Error() != "c\nb\na" {
		t.Errorf("order %s, error %v", order.String(), err)
	}
}
