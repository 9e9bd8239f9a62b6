package snicluster_test

import (
	"testing"

	sniv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/sni_cluster/v3"

	"github.com/ginnel/ginnel/extension"
	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/internal/ext/snicluster"
	"github.com/ginnel/ginnel/internal/state"
	"github.com/ginnel/ginnel/internal/testcompile"
)

// next is the rest of the chain.
type next struct{ cluster string }

func (n *next) ServeConn(c *filter.Conn) error {
	o, _ := filter.Get[state.Name](&c.Info.State, state.ClusterKey)
	n.cluster = string(o)
	return nil
}

// TestCluster: the server name names the cluster, over what a filter before has said;
// without one nothing is changed.
func TestCluster(t *testing.T) {
	f, issues := testcompile.JSON(t, snicluster.Register, extension.NetworkFilter, &sniv3.SniCluster{}, `{}`)
	if len(issues) > 0 {
		t.Fatal(issues)
	}
	n, err := f.NewNetwork(nil)
	if err != nil {
		t.Fatal(err)
	}
	if p, ok := n.(filter.Passive); !ok || !p.Passive() {
		t.Error("not passive: the chain could not take over a connection")
	}
	for _, c := range []struct{ before, name, want string }{
		{"", "outbound_.80_._.a.example", "outbound_.80_._.a.example"},
		{"other", "a.example", "a.example"},
		{"other", "", "other"},
		{"", "", ""},
	} {
		conn, after := &filter.Conn{}, &next{}
		if c.before != "" {
			conn.Info.State.Set(filter.Entry{Name: state.ClusterKey, Object: state.Name(c.before)})
		}
		if c.name != "" {
			conn.Info.More().Inspected.ServerName = c.name
		}
		if err := n.WrapConn(after).ServeConn(conn); err != nil || after.cluster != c.want {
			t.Errorf("%+v: got %q, %v", c, after.cluster, err)
		}
	}
}
