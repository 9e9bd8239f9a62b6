package extension_test

import (
	"slices"
	"testing"

	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/ginnel/ginnel/extension"
)

// What is set and in no list is refused at its path; a default is accepted as the
// value that it is.
func TestFieldsCheck(t *testing.T) {
	f := extension.Fields{
		Message:  &listenerv3.Listener{},
		Obeyed:   []string{"name"},
		Ignored:  map[string]string{"stat_prefix": "nothing is counted here"},
		Defaults: map[string]string{"transparent": "false", "tcp_backlog_size": "0", "drain_type": "MODIFY_ONLY", "reuse_port": "true"},
	}
	for _, c := range []struct {
		m    *listenerv3.Listener
		want []string
	}{
		{&listenerv3.Listener{Name: "l", StatPrefix: "s"}, nil},
		{&listenerv3.Listener{Transparent: wrapperspb.Bool(false), TcpBacklogSize: wrapperspb.UInt32(0)}, nil},
		{&listenerv3.Listener{Transparent: wrapperspb.Bool(true)}, []string{"l.transparent"}},
		{&listenerv3.Listener{TcpBacklogSize: wrapperspb.UInt32(1)}, []string{"l.tcp_backlog_size"}},
		{&listenerv3.Listener{DrainType: listenerv3.Listener_MODIFY_ONLY, ReusePort: true}, nil},
		{&listenerv3.Listener{EnableMptcp: true, FilterChains: []*listenerv3.FilterChain{{}}}, []string{"l.enable_mptcp", "l.filter_chains"}},
	} {
		r := &extension.Report{}
		f.Check(extension.NewScope(r, nil, nil).At("l"), c.m)
		var got []string
		for _, i := range r.Issues {
			got = append(got, i.Path)
		}
		if slices.Sort(got); !slices.Equal(got, c.want) {
			t.Errorf("%v: refused %q, want %q", c.m, got, c.want)
		}
	}
}
