package plan

import (
	"time"

	"google.golang.org/protobuf/types/known/structpb"
)

// A SlowStart lets hosts that have become healthy begin with a part of their weight.
type SlowStart struct {
	Window        time.Duration // until a host has its whole weight
	Aggression    float64       // 1 by default: the weight grows evenly
	AggressionKey string        // runtime key over Aggression; "": none
	MinWeight     float64       // the least part of the weight; 0.1 by default
}

// A Subset divides the hosts by their metadata (envoy.lb), of which requests say what they
// want.
type Subset struct {
	Selectors []SubsetSelector
	Fallback  SubsetFallback   // where no subset is found, and its selector does not say otherwise
	Default   *structpb.Struct // of DefaultSubset

	PanicAny     bool // any host will do when the fallback finds none
	ListAny      bool // of a list in a host's metadata each element counts
	FallbackList bool // criteria may have a list of others, tried in order
	Redundant    bool // criteria may have more keys than a selector

	LocalityWeights bool // within subsets, too
	ScaleWeights    bool // of localities, by how many of their hosts are in the subset
}

// A SubsetSelector makes a subset of the hosts that have the same values of some keys.
type SubsetSelector struct {
	Keys         []string // sorted, each once
	Fallback     SubsetFallback
	FallbackKeys []string // of KeysSubset, sorted
	Single       bool     // a subset is its first host
}

// A SubsetFallback is what is done when there is no subset for a request.
type SubsetFallback uint8

// The fallbacks. Undefined is for selectors: as the whole says.
const (
	Undefined SubsetFallback = iota
	NoFallback
	AnyEndpoint
	DefaultSubset
	KeysSubset // with fewer keys
)
