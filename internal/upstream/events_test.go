package upstream

import (
	"errors"
	"strings"
	"testing"

	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/internal/plan"
)

var errShut = errors.New("unable to open file")

// shut is files of which none can be opened.
type shut struct{}

func (shut) Open(string) (filter.LogFile, error) { return nil, errShut }

// A cluster whose file of events cannot be opened changes nothing, and what comes after it can
// be applied.
func TestEventLogShut(t *testing.T) {
	s, _ := run(t, Options{LogFiles: shut{}}, cluster("c", internal("a", "")))
	was := s.get(t, "c")
	next := cluster("c", internal("b", ""))
	next.Hash++
	next.Check = &plan.HealthCheck{TCP: &plan.TCPCheck{}, EventLogs: []string{"events"}}
	if err := s.Apply([]*plan.Cluster{next}); !errors.Is(err, errShut) || !strings.HasPrefix(err.Error(), `cluster "c": `) {
		t.Errorf("%v", err)
	}
	if s.get(t, "c") != was {
		t.Error("it is another one")
	}
	if err := s.Apply(nil); err != nil {
		t.Error(err)
	}
}
