package resource

import (
	"errors"
	"fmt"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
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
