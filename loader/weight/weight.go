// Package weight turns what is known about the backends of a pool into their
// effective weights:
//
//	effective = configured or override × health × slow start × resources
//
// It is pure: no clock, no goroutines, no I/O. Time is passed in, and the same
// calls at the same times give the same weights. A Pool holds what must be
// remembered between two looks; it is for one goroutine at a time.
package weight

import (
	"math"

	"weir/loader/lb"
)

// Factor scales a weight: 1 changes nothing, 0 takes no new flows. Values
// outside [0, lb.MaxFactor] and NaN are refused by clamping, so that no source of
// factors can raise a backend further above what was asked for.
type Factor float64

// Inputs are all that decides one backend's effective weight.
type Inputs struct {
	Configured lb.Weight
	Override   *Override // nil: none
	Factors    []Factor
}

// Effective is base × factors in 1/64 of a configured weight, rounded to the
// nearest. Rounding never drains a backend: only a base or a factor of 0
// gives 0.
func Effective(in Inputs) lb.EffectiveWeight {
	w := float64(in.base()) * float64(lb.EffectiveUnit)
	for _, f := range in.Factors {
		w *= f.clamped()
	}
	if w == 0 {
		return 0
	}
	return max(1, lb.EffectiveWeight(math.Round(w)))
}

func (in Inputs) base() lb.Weight {
	switch {
	case in.Override == nil:
		return in.Configured
	case in.Override.Drain:
		return 0
	}
	return in.Override.Weight
}

func (f Factor) clamped() float64 {
	if !(f > 0) { // NaN too
		return 0
	}
	return math.Min(float64(f), lb.MaxFactor)
}
