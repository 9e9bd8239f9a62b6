//go:build !linux

package pump

import (
	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/internal/netconn"
)

// loops do not exist on systems without epoll.
type loops struct{}

func (*loops) open(*Group) error { return nil }
func (*loops) settle()           {}
func (*loops) close(string)      {}
func (*loops) stop(*Group)       {}

func (*Group) startLooped(_, _ filter.Stream, _ filter.Outer, _ func() error) filter.Pump { return nil }

// Watch implements netconn.Watcher.
func (*Group) Watch(int, netconn.Batch, func(*netconn.Turn) bool) (func(), error) {
	return nil, netconn.ErrNoLoops
}
