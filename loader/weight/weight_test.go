package weight

import (
	"math"
	"testing"

	"weir/loader/lb"
)

func TestEffective(t *testing.T) {
	nan := Factor(math.NaN())
	for _, tc := range []struct {
		name string
		in   Inputs
		want lb.EffectiveWeight
	}{
		{"configured", Inputs{Configured: 3}, 192},
		{"configured zero", Inputs{Configured: 0}, 0},
		{"largest", Inputs{Configured: lb.MaxWeight}, 64000},
		{"override", Inputs{Configured: 3, Override: &Override{Weight: 5}}, 320},
		{"override of zero", Inputs{Override: &Override{Weight: 2}}, 128},
		{"override to zero", Inputs{Configured: 3, Override: &Override{}}, 0},
		{"drain", Inputs{Configured: 3, Override: &Override{Drain: true}}, 0},
		{"drain beats weight", Inputs{Configured: 3, Override: &Override{Drain: true, Weight: 9}}, 0},
		{"factor", Inputs{Configured: 1, Factors: []Factor{0.5}}, 32},
		{"factors multiply", Inputs{Configured: 4, Factors: []Factor{0.5, 0.25}}, 32},
		{"rounds to nearest", Inputs{Configured: 1, Factors: []Factor{0.76}}, 49},
		{"rounding never drains", Inputs{Configured: 1, Factors: []Factor{0.0001}}, 1},
		{"factor zero drains", Inputs{Configured: 1000, Factors: []Factor{0}}, 0},
		{"factor above one", Inputs{Configured: 2, Factors: []Factor{1.5}}, 192},
		{"factor above the most", Inputs{Configured: 2, Factors: []Factor{7}}, 256},
		{"factor below zero", Inputs{Configured: 2, Factors: []Factor{-1}}, 0},
		{"factor NaN", Inputs{Configured: 2, Factors: []Factor{nan}}, 0},
		{"factor on override", Inputs{Configured: 9, Override: &Override{Weight: 2}, Factors: []Factor{0.5}}, 64},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := Effective(tc.in); got != tc.want {
				t.Errorf("Effective(%+v) = %d, want %d", tc.in, got, tc.want)
			}
		})
	}
}

func TestOverrideString(t *testing.T) {
	for want, o := range map[string]Override{"drain": {Drain: true}, "weight 7": {Weight: 7}} {
		if got := o.String(); got != want {
			t.Errorf("%+v reads %q, want %q", o, got, want)
		}
	}
}
