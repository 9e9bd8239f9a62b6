package lb

import "sync"

// edf gives turns in proportion to weights, earliest deadline first: who has had a
// turn gets the next one after 1/weight. Of equal deadlines the one that was set
// first comes first (Envoy's EdfScheduler).
type edf struct {
	weight func(i int) float64

	mu   sync.Mutex
	heap []turn // the least first
	sets uint64
}

type turn struct {
	deadline float64
	set      uint64
	index    int
}

// newEDF returns a schedule in which seed turns have been had already. current, if
// not nil, gives the weight at the moment a deadline is set.
func newEDF(weights []float64, current func(i int) float64, seed uint64) *edf {
	s := &edf{weight: current}
	if current == nil {
		s.weight = func(i int) float64 { return weights[i] }
	}
	now := make([]float64, len(weights))
	var sum float64
	for i := range weights {
		now[i] = s.weight(i)
		sum += now[i]
	}
	had := seed % (1 << 28) // more would cost precision
	left := had
	for i, w := range now {
		n := uint64(float64(had) * w / sum)
		left -= min(n, left)
		s.push(turn{deadline: float64(n+1) / w, index: i})
	}
	for range left {
		s.next()
	}
	return s
}

// next returns whose turn it is.
func (s *edf) next() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := &s.heap[0]
	i := t.index
	t.deadline += 1 / s.weight(i)
	s.sets++
	t.set = s.sets
	s.down()
	return i
}

func (s *edf) push(t turn) {
	s.sets++
	t.set = s.sets
	s.heap = append(s.heap, t)
	for i := len(s.heap) - 1; i > 0; {
		up := (i - 1) / 2
		if !s.less(i, up) {
			return
		}
		s.heap[i], s.heap[up] = s.heap[up], s.heap[i]
		i = up
	}
}

// down restores the order after the root was put off.
func (s *edf) down() {
	for i := 0; ; {
		least := i
		for _, c := range [2]int{2*i + 1, 2*i + 2} {
			if c < len(s.heap) && s.less(c, least) {
				least = c
			}
		}
		if least == i {
			return
		}
		s.heap[i], s.heap[least] = s.heap[least], s.heap[i]
		i = least
	}
}

func (s *edf) less(i, j int) bool {
	a, b := &s.heap[i], &s.heap[j]
	return a.deadline < b.deadline || a.deadline == b.deadline && a.set < b.set
}
