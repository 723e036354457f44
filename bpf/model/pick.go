package model

const mostCompared = 32

// steady: must the choice be the same for each packet of the flow? So it is if
// the start was not seen, or if the flow may soon have to leave the table.
func (m *Model) steady(s *Service, t tuple, flags uint8) bool {
	if t.proto == tcp && !opens(t.proto, flags) {
		return true
	}
	_, r := m.victim(m.Flows.place(t.hash(&m.config.FlowKey)))
	return r <= embryonic
}

// pick chooses from a service's table, nil if it is empty. steady: by hash,
// whatever the picker.
func (m *Model) pick(s *Service, t tuple, steady bool) *Backend {
	if len(s.Table) == 0 {
		return nil
	}
	hash := t.hash(&m.config.PickKey)
	switch {
	case steady || s.Picker == ByHash:
		return s.at(scale(high(hash), len(s.Table)))
	case s.Picker == LeastOfAll:
		return s.leastOfAll(hash)
	case s.Picker == LeastOfTwo:
		return s.leastOfTwo(hash)
	}
	s.cursor++
	return s.at(int((s.cursor - 1) % uint32(len(s.Table))))
}

func (s *Service) at(i int) *Backend { return s.Backends[s.Table[i].Slot] }

// less: fewer active flows for its weight.
func (s *Service) less(i, j int) bool {
	a, b := s.Table[i], s.Table[j]
	return s.at(i).Counters.Active*uint64(b.Weight) < s.at(j).Counters.Active*uint64(a.Weight)
}

// leastOfAll draws among equals by weight.
func (s *Service) leastOfAll(hash uint64) *Backend {
	least, weights := []int{0}, 0
	for i := 1; i < min(len(s.Table), mostCompared); i++ {
		switch {
		case s.less(i, least[0]):
			least = []int{i}
		case !s.less(least[0], i):
			least = append(least, i)
		}
	}
	for _, i := range least {
		weights += int(s.Table[i].Weight)
	}
	drawn := scale(high(hash), weights)
	for _, i := range least {
		if drawn -= int(s.Table[i].Weight); drawn < 0 {
			return s.at(i)
		}
	}
	return nil // cannot be: the draw is below the sum
}

// leastOfTwo: Mitzenmacher, "The Power of Two Choices".
func (s *Service) leastOfTwo(hash uint64) *Backend {
	i, j := scale(high(hash), len(s.Table)), scale(uint32(hash), len(s.Table))
	if s.less(j, i) {
		return s.at(j)
	}
	return s.at(i)
}
