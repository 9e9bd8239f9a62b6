package matcher

import (
	matcherv3 "github.com/cncf/xds/go/xds/type/matcher/v3"
	hashingv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/matching/input_matchers/consistent_hashing/v3"
	ipv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/matching/input_matchers/ip/v3"
	metadatav3 "github.com/envoyproxy/go-control-plane/envoy/extensions/matching/input_matchers/metadata/v3"
	fractionv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/matching/input_matchers/runtime_fraction/v3"

	"github.com/ginnel/ginnel/extension"
)

var (
	matcherFields  = extension.Fields{Message: &matcherv3.Matcher{}, Obeyed: []string{"matcher_list", "matcher_tree", "on_no_match"}}
	onMatchFields  = extension.Fields{Message: &matcherv3.Matcher_OnMatch{}, Obeyed: []string{"matcher", "action", "keep_matching"}}
	ipFields       = extension.Fields{Message: &ipv3.Ip{}, Obeyed: []string{"cidr_ranges"}, Ignored: map[string]string{"stat_prefix": "it counts texts that are no addresses, and those do not match"}}
	hashingFields  = extension.Fields{Message: &hashingv3.ConsistentHashing{}, Obeyed: []string{"threshold", "modulo", "seed"}}
	fractionFields = extension.Fields{Message: &fractionv3.RuntimeFraction{}, Obeyed: []string{"runtime_fraction", "seed"}}
	metadataFields = extension.Fields{Message: &metadatav3.Metadata{}, Obeyed: []string{"value", "invert"}}
)

// Support returns what is done with the fields of the messages read here. Those that are
// not named have no field that is not obeyed.
func Support() []*extension.Fields {
	return []*extension.Fields{
		&matcherFields, &onMatchFields, &ipFields, &hashingFields, &fractionFields, &metadataFields,
		&filterStateFields, &dynamicMetadataFields,
	}
}
