package matcher

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/gaissmai/bart"
)

// exact is an exact_match_map.
type exact[D, A any] map[string]*onMatch[D, A]

func (m exact[D, A]) find(v Value, d D, kept func(A)) (A, Outcome) {
	if v.kind == byText {
		return m[v.text].take(d, kept)
	}
	var buf [textBytes]byte
	return m[string(v.append(buf[:0]))].take(d, kept)
}

// prefixes is a prefix_match_map: its keys in order, each with the longest one that it
// begins with. So the keys that a text begins with are found from the last one that is
// not behind it.
type prefixes[D, A any] []prefix[D, A]

type prefix[D, A any] struct {
	key     string
	shorter int // index; -1: none
	onMatch *onMatch[D, A]
}

func newPrefixes[D, A any](m map[string]*onMatch[D, A]) prefixes[D, A] {
	out := make(prefixes[D, A], 0, len(m))
	for key, on := range m {
		out = append(out, prefix[D, A]{key, -1, on})
	}
	slices.SortFunc(out, func(a, b prefix[D, A]) int { return strings.Compare(a.key, b.key) })
	for i := 1; i < len(out); i++ {
		p := i - 1
		for p >= 0 && !strings.HasPrefix(out[i].key, out[p].key) {
			p = out[p].shorter
		}
		out[i].shorter = p
	}
	return out
}

func (m prefixes[D, A]) find(v Value, d D, kept func(A)) (A, Outcome) {
	text := v.String()
	i, ok := slices.BinarySearchFunc(m, text, func(p prefix[D, A], text string) int { return strings.Compare(p.key, text) })
	if !ok {
		i--
	}
	for ; i >= 0; i = m[i].shorter {
		if !strings.HasPrefix(text, m[i].key) {
			continue
		}
		if a, out := m[i].onMatch.take(d, kept); out != NoMatch {
			return a, out
		}
	}
	var none A
	return none, NoMatch
}

// ranges is an IPMatcher.
type ranges[D, A any] struct{ table bart.Table[*ipRange[D, A]] }

// An ipRange is all that was said of one range.
type ipRange[D, A any] struct {
	choices []choice[D, A] // in the order of the configuration
	wider   *ipRange[D, A] // the next one that holds this one; nil: none
}

type choice[D, A any] struct {
	onMatch   *onMatch[D, A]
	exclusive bool // only before all others that hold the address
}

func (r *ranges[D, A]) add(p netip.Prefix, c choice[D, A]) {
	at, ok := r.table.Get(p)
	if !ok {
		at = new(ipRange[D, A])
		r.table.Insert(p, at)
	}
	at.choices = append(at.choices, c)
}

// done connects the ranges that were added.
func (r *ranges[D, A]) done() {
	for p, at := range r.table.All() {
		if p.Bits() == 0 {
			continue
		}
		outer := netip.PrefixFrom(p.Addr(), p.Bits()-1).Masked()
		at.wider, _ = r.table.LookupPrefix(outer)
	}
}

func (r *ranges[D, A]) find(v Value, d D, kept func(A)) (A, Outcome) {
	var none A
	ip, ok := v.ip()
	if !ok {
		return none, NoMatch
	}
	at, _ := r.table.Lookup(ip)
	for first := true; at != nil; at = at.wider {
		for _, c := range at.choices {
			if first || !c.exclusive {
				if a, out := c.onMatch.take(d, kept); out != NoMatch {
					return a, out
				}
			}
			first = false
		}
	}
	return none, NoMatch
}

// names is a ServerNameMatcher.
type names[D, A any] struct {
	exact map[string]*onMatch[D, A]
	wild  map[string]*onMatch[D, A] // by what follows "*."
	any   *onMatch[D, A]            // of "*"
}

func (n *names[D, A]) find(v Value, d D, kept func(A)) (A, Outcome) {
	var none A
	name := v.String()
	if name == "" {
		return none, NoMatch
	}
	if a, out := n.exact[name].take(d, kept); out != NoMatch {
		return a, out
	}
	for rest, more := name, true; more; {
		if _, rest, more = strings.Cut(rest, "."); more {
			if a, out := n.wild[rest].take(d, kept); out != NoMatch {
				return a, out
			}
		}
	}
	return n.any.take(d, kept)
}
