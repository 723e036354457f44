package bpf_test

import "math/rand/v2"

// chooser makes the choices of which traffic is made.
type chooser interface {
	n(k int) int // 0..k-1
	spent() bool // nothing is left to choose by
}

// dice chooses at random, again alike from the same seed.
type dice struct{ *rand.Rand }

func newDice(seed uint64) dice { return dice{rand.New(rand.NewPCG(seed, 1))} }
func (d dice) n(k int) int     { return d.IntN(k) }
func (d dice) spent() bool     { return false }

// script chooses by bytes, which a fuzzer changes.
type script struct{ left []byte }

func (s *script) spent() bool { return len(s.left) == 0 }

func (s *script) n(k int) int {
	size := 1
	if k > 256 {
		size = 2
	}
	var v uint16
	for range min(size, len(s.left)) {
		v = v<<8 | uint16(s.left[0])
		s.left = s.left[1:]
	}
	return int(v) % k
}
