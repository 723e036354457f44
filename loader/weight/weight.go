// Package weight turns what is known about a backend into its effective
// weight. It is pure: same inputs, same weight.
package weight

import (
	"math"
	"strconv"

	"weir/loader/lb"
)

// Override is what an operator put in place of a configured weight. Drain
// keeps no weight: a backend made ready again has its configured one.
type Override struct {
	Drain  bool
	Weight lb.Weight
}

func (o Override) String() string {
	if o.Drain {
		return "drain"
	}
	return "weight " + strconv.Itoa(int(o.Weight))
}

// Factor scales a weight: 1 changes nothing, 0 takes no new flows. Values
// outside [0, 1] and NaN are refused by clamping, so that no source of factors
// can raise a backend above what was asked for.
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
	w := float64(base(in)) * float64(lb.EffectiveUnit)
	for _, f := range in.Factors {
		w *= f.clamped()
	}
	if w == 0 {
		return 0
	}
	return max(1, lb.EffectiveWeight(math.Round(w)))
}

func base(in Inputs) lb.Weight {
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
	return math.Min(float64(f), 1)
}
