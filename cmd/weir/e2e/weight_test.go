package e2e

import (
	"math"
	"testing"
	"time"
)

func TestSetWeight(t *testing.T) {
	for _, p := range []plan{{algorithm: "maglev"}, {algorithm: "wrr", family: 6}} {
		t.Run(p.String(), func(t *testing.T) { testSetWeight(t, p) })
	}
}

const (
	shareWindow    = 2000 // connections
	shareTolerance = 0.05
)

func testSetWeight(t *testing.T, p plan) {
	l := start(t, p)
	d := l.load(t, mix{oneShot: 8})
	x := l.servers[2]
	for _, step := range []struct {
		args []string
		want []float64
	}{
		{nil, []float64{1. / 3, 1. / 3, 1. / 3}},
		{[]string{"backend", "set", ref(x), "--weight", "6"}, []float64{1. / 8, 1. / 8, 6. / 8}},
		{[]string{"backend", "set", ref(x), "--weight", "0"}, []float64{1. / 2, 1. / 2, 0}},
		{[]string{"backend", "ready", ref(x)}, []float64{1. / 3, 1. / 3, 1. / 3}},
	} {
		if step.args != nil {
			weir(t, step.args...)
			<-time.After(time.Second) // what is allowed
		}
		checkShares(t, l, step.args, step.want)
	}
	d.finish(t, "weights set")
}

// checkShares counts a window of new connections where they arrive.
func checkShares(t *testing.T, l *lab, after []string, want []float64) {
	t.Helper()
	from, total := l.perServer(), l.accepted()
	eventually(t, 20*time.Second, "a window of connections", yes(func() bool { return l.accepted() >= total+shareWindow }))
	to := l.perServer()
	var n float64
	for i := range to {
		n += float64(to[i] - from[i])
	}
	got := make([]float64, len(to))
	for i := range to {
		got[i] = float64(to[i]-from[i]) / n
		if math.Abs(got[i]-want[i]) > shareTolerance {
			t.Errorf("after %v: share of backend %d is %.3f of %.0f connections, want %.3f", after, i, got[i], n, want[i])
		}
		if want[i] == 0 && got[i] != 0 {
			t.Errorf("after %v: backend %d gets connections", after, i)
		}
	}
	t.Logf("after %v: shares %.3f of %.0f connections, want %.3f", after, got, n, want)
}
