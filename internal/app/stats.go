package app

import (
	"fmt"
	"strings"

	"github.com/ginnel/ginnel/internal/plan"
	"github.com/ginnel/ginnel/internal/stats"
)

// newStore makes the statistics that stats_config and --stats-tag ask for.
func newStore(p *plan.Server, tags []string) (*stats.Store, error) {
	var fixed []stats.Tag
	for _, t := range tags {
		name, value, _ := strings.Cut(t, ":")
		fixed = append(fixed, stats.Tag{Name: name, Value: value})
	}
	o, err := stats.Configure(p.Bootstrap.GetStatsConfig(), fixed)
	if err != nil {
		return nil, fmt.Errorf("stats_config: %w", err)
	}
	o.FlushOnAdmin = p.Bootstrap.GetStatsFlushOnAdmin()
	return stats.New(o), nil
}
