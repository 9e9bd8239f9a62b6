// Package snicluster is the network filter that has connections go to the cluster of
// which the server name of their TLS is the name
// (envoy.extensions.filters.network.sni_cluster.v3.SniCluster).
package snicluster

import (
	sniv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/sni_cluster/v3"

	"github.com/ginnel/ginnel/extension"
	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/internal/state"
)

// Support returns what is done with the fields of the messages read here.
func Support() []*extension.Fields { return []*extension.Fields{{Message: &sniv3.SniCluster{}}} }

// Register adds the filter to a registry.
func Register(r *extension.Registry) {
	extension.Register(r, extension.NetworkFilter,
		func(*extension.Scope, *sniv3.SniCluster) filter.NetworkFactory { return named{} })
}

// named is the filter, compiled and running.
type named struct{}

// NewNetwork implements filter.NetworkFactory.
func (named) NewNetwork(*filter.Env) (filter.Network, error) { return named{}, nil }

// Passive implements filter.Passive.
func (named) Passive() bool { return true }

// WrapConn implements filter.Network.
func (named) WrapConn(next filter.ConnHandler) filter.ConnHandler { return handler{next} }

type handler struct{ next filter.ConnHandler }

// ServeConn implements filter.ConnHandler.
func (h handler) ServeConn(c *filter.Conn) error {
	if name := c.Info.Rest().Inspected.ServerName; name != "" {
		c.Info.State.Set(filter.Entry{Name: state.ClusterKey, Object: state.Name(name)})
	}
	return h.next.ServeConn(c)
}
