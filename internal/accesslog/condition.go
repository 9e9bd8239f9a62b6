package accesslog

import (
	accesslogv3 "github.com/envoyproxy/go-control-plane/envoy/config/accesslog/v3"

	"github.com/ginnel/ginnel/extension"
	"github.com/ginnel/ginnel/filter"
)

// A Condition is a compiled access log filter that decides about something else than an
// entry of a log. It is safe for concurrent use.
type Condition func(*filter.Info, filter.AccessLogType, filter.Runtime) bool

// CompileCondition compiles an access log filter for other uses; nil for none. What is
// wrong is reported.
func CompileCondition(s *extension.Scope, m *accesslogv3.AccessLogFilter) Condition {
	keep := compileFilter(s, m)
	if keep == nil {
		return nil
	}
	return func(i *filter.Info, t filter.AccessLogType, r filter.Runtime) bool { return keep(event{i, t, r}) }
}
