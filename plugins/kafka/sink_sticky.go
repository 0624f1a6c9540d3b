package kafka

// sticky spreads records without a key: to one partition until a batch is full, then
// to the one with the least waiting.
type sticky struct {
	at    *partition
	bytes int
	turn  int
}

func (s *sticky) next(parts []*partition, size, batch int) *partition {
	if s.at == nil || s.bytes+size > batch {
		s.at, s.bytes = s.idlest(parts), 0
	}
	s.bytes += size
	return s.at
}

// idlest returns the partition with the least waiting, in turn where several have
// as little. One without a leader only where there is no other.
func (s *sticky) idlest(parts []*partition) *partition {
	s.turn++
	var best *partition
	least := 0
	for i := range parts {
		p := parts[(s.turn+i)%len(parts)]
		p.mu.Lock()
		waiting := p.queued
		p.mu.Unlock()
		if p.leader.Load() < 0 {
			waiting = int(^uint(0) >> 1)
		}
		if best == nil || waiting < least {
			best, least = p, waiting
		}
	}
	return best
}
