package router

import (
	"testing"
	"testing/synctest"

	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/httpmsg"
)

// A logger of tries.
type tryLog struct{ lines []string }

func (l *tryLog) NewAccessLog(*filter.Env) (filter.AccessLog, error) { return l, nil }

func (l *tryLog) Log(i *filter.Info, t filter.AccessLogType) {
	l.lines = append(l.lines, t.String()+" "+i.Flags.String()+" "+i.Rest().Details+" "+httpmsg.HTTP11.String())
}

// Each try has an entry in the upstream logs.
func TestUpstreamLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &tryLog{}
		w := newWorld(t, &Config{Logs: []filter.AccessLogFactory{l}}, retrying("5xx", ""))
		w.c.then(reset(httpmsg.RemoteReset))
		w.c.then(opens(200), last("x"))
		w.get("/")
		want := []string{
			"UpstreamEnd UR upstream_reset_before_response_started{remote_reset} HTTP/1.1",
			"UpstreamEnd - via_upstream HTTP/1.1",
		}
		if len(l.lines) != 2 || l.lines[0] != want[0] || l.lines[1] != want[1] {
			t.Errorf("logged %q", l.lines)
		}
	})
}
