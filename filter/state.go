package filter

import (
	"cmp"
	"slices"

	"google.golang.org/protobuf/types/known/structpb"
)

// An Object is a value in the filter state. It is shared by reference with every
// connection it travels to, so it is either immutable or safe for concurrent use.
type Object interface {
	// Serialize returns what access logs print for the object; false prints "-".
	Serialize() (string, bool)
}

// Hashable objects choose hosts by hash. (Pools are kept apart by every shared
// object, hashable or not.)
type Hashable interface{ Hash() (uint64, bool) }

// Fielded objects give single fields to %FILTER_STATE(key:FIELD:name)%.
type Fielded interface {
	Field(name string) (string, bool)
}

// Sharing says how far a filter-state object travels with upstream connections.
type Sharing uint8

// The sharing modes of Envoy's shared_with_upstream.
const (
	SharedNone       Sharing = iota // stays on its connection
	SharedOnce                      // reaches the next hop and stops there
	SharedTransitive                // crosses every hop
)

// An Entry is one named object of a State.
type Entry struct {
	Name    string
	Object  Object
	Sharing Sharing
	// Lasting objects stay with a request that passes the filters again (HTTPHost.Again).
	Lasting bool
}

// State is the filter state of one connection or, with a parent, of one stream
// within it. The zero State is empty. It is used by one goroutine at a time.
type State struct{ in *state } // nil: empty. Few connections have more

type state struct {
	parent  *State
	entries []Entry // few: a search in order beats a map
}

// Child returns an empty state that reads through to s.
func (s *State) Child() *State { return &State{&state{parent: s}} }

// Set stores an object under its name, in place of what was there: the later one
// wins, also over an imported one (Envoy 1.40 ignores read_only).
func (s *State) Set(e Entry) {
	if s.in == nil {
		s.in = new(state)
	}
	for i, x := range s.in.entries {
		if x.Name == e.Name {
			s.in.entries[i] = e
			return
		}
	}
	s.in.entries = append(s.in.entries, e)
}

// Get returns the object of that name, here or in an ancestor. s may be nil.
func (s *State) Get(name string) (Object, bool) {
	for ; s != nil; s = s.outer() {
		for _, e := range s.Entries() {
			if e.Name == name {
				return e.Object, true
			}
		}
	}
	return nil, false
}

// Get returns the object of that name if it is a T.
func Get[T any](s *State, name string) (T, bool) {
	o, _ := s.Get(name)
	v, ok := o.(T)
	return v, ok
}

// Entries returns the entries of s without its ancestors, in the order they were
// set. The caller must not change them.
func (s *State) Entries() []Entry {
	if s == nil || s.in == nil {
		return nil
	}
	return s.in.entries
}

// outer returns the state that s reads through to; nil: there is none.
func (s *State) outer() *State {
	if s.in == nil {
		return nil
	}
	return s.in.parent
}

// Shared returns what travels with an upstream connection: the objects of s and
// its ancestors that are shared, the nearest of each name, in the order of their
// names. It returns nil, without allocating, when nothing is shared.
func (s *State) Shared() []Entry {
	var out []Entry
	for st := s; st != nil; st = st.outer() {
		for _, e := range st.Entries() {
			if e.Sharing != SharedNone && !slices.ContainsFunc(out, func(o Entry) bool { return o.Name == e.Name }) {
				out = append(out, e)
			}
		}
	}
	slices.SortFunc(out, func(a, b Entry) int { return cmp.Compare(a.Name, b.Name) })
	return out
}

// Import takes over what travelled with a connection: ONCE arrives as NONE and so
// stops here, TRANSITIVE goes on. The objects are the same ones.
func (s *State) Import(shared []Entry) {
	for _, e := range shared {
		if e.Sharing == SharedOnce {
			e.Sharing = SharedNone
		}
		s.Set(e)
	}
}

// Metadata holds dynamic metadata by namespace. The structs are immutable: who
// changes a namespace puts a new struct in its place.
type Metadata map[string]*structpb.Struct

// Passthrough is what crosses an internal hop beside the bytes.
type Passthrough struct {
	Metadata Metadata // nil: none
	State    []Entry  // as returned by State.Shared
}
