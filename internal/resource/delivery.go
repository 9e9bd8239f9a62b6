package resource

import (
	"errors"
	"fmt"

	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/ginnel/ginnel/internal/config"
)

// A Delivery is what a source has at some moment.
type Delivery struct {
	Version   string
	Resources []*anypb.Any
	// Faults are of single resources, by their index, found before they came here.
	Faults map[int]string
	// Whole says that it is all that the source has: what was asked for and is not there
	// will not come before the source changes.
	Whole bool

	has *contents // nil: nobody has looked yet; guarded by the lock of the hub
}

// contents are the resources of a delivery by their names. Two of a name are wrong: nobody
// knows which one is meant.
type contents struct {
	byName map[string]content
	names  []string
	only   content // the first one
}

// A content is one resource.
type content struct {
	any     *anypb.Any
	message proto.Message // nil: it is not known what it is
	typ     string
	err     error // what is wrong with it; nil: nothing that is known yet
}

// contents unpacks the delivery, once for all who ask.
func (d *Delivery) contents() *contents {
	if d.has != nil {
		return d.has
	}
	d.has = &contents{byName: make(map[string]content, len(d.Resources))}
	for i, a := range d.Resources {
		x := content{any: a}
		if x.message, x.err = config.Unpack(a); x.err == nil {
			x.typ = string(x.message.ProtoReflect().Descriptor().FullName())
			name := nameOf(x.message)
			if why := d.Faults[i]; why != "" {
				x.err = errors.New(why)
			}
			if first, twice := d.has.byName[name]; !twice {
				d.has.byName[name] = x
				d.has.names = append(d.has.names, name)
			} else if first.err == nil && first.typ == x.typ {
				first.err = fmt.Errorf("duplicate resource %s found", name)
				d.has.byName[name] = first
			}
		} else {
			x.message = nil
		}
		if i == 0 {
			d.has.only = x
		}
	}
	return d.has
}

func nameOf(m proto.Message) string {
	switch m := m.(type) {
	case *routev3.RouteConfiguration:
		return m.GetName()
	case *endpointv3.ClusterLoadAssignment:
		return m.GetClusterName()
	case interface{ GetName() string }:
		return m.GetName()
	}
	return ""
}

// ReadFile reads a DiscoveryResponse. Faults that lie in one resource are that one's.
func ReadFile(path string) (Delivery, error) {
	m := &discoveryv3.DiscoveryResponse{}
	_, err := config.Load(config.Input{Path: path, Target: m})
	var faults config.Issues
	if err != nil && !errors.As(err, &faults) {
		return Delivery{}, err
	}
	d := Delivery{Version: m.GetVersionInfo(), Resources: m.GetResources(), Faults: make(map[int]string), Whole: true}
	for _, i := range faults {
		var at int
		if _, err := fmt.Sscanf(i.Path, "resources[%d]", &at); err != nil || at >= len(d.Resources) {
			return Delivery{}, faults
		}
		if d.Faults[at] == "" {
			d.Faults[at] = i.String()
		}
	}
	return d, nil
}
