package secret

import (
	"github.com/ginnel/ginnel/internal/resource"
	"github.com/ginnel/ginnel/internal/stats"
)

// counts are the statistics of one secret, under Envoy's names.
type counts struct {
	resource.Counts
	scope     *stats.Scope
	rotations *stats.Counter
}

func newCounts(s *stats.Scope) *counts {
	c := &counts{scope: s, rotations: s.Counter("key_rotation_failed")}
	c.Show(s)
	return c
}
