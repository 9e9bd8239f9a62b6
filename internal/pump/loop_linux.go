package pump

import "github.com/ginnel/ginnel/filter"

// loops do not exist on systems without epoll.
type loops struct{}

func (*Group) startLooped(_, _ filter.Stream, _ filter.Outer, _ func() error) filter.Pump { return nil }
