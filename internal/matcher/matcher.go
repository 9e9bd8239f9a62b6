// Package matcher decides by unified matchers (xds.type.matcher.v3.Matcher): trees that
// lead from what is known of a connection or request to an action.
//
// Who uses them gives the inputs that it has ([Inputs]) and turns the actions into values
// of its own; [Compile] then makes an immutable [Tree]. Finding an action costs no
// allocation and, in maps and tries, the same however many entries there are. What does
// not yield an action is passed over for the next best, as in Envoy: a nested matcher
// without a match, a shorter prefix, a wider range.
package matcher

// A Tree finds the action, an A, for a D. It is immutable. The zero value finds none.
type Tree[D, A any] struct{ root node[D, A] }

// Outcome is how matching ended.
type Outcome uint8

// The outcomes.
const (
	NoMatch   Outcome = iota
	Matched           // there is an action
	Undecided         // an input that counts may change yet: ask again when more is known
)

// Match returns the action for d. Actions with keep_matching are given to kept, which may
// be nil, and are no match.
func (t *Tree[D, A]) Match(d D, kept func(A)) (A, Outcome) {
	if t.root == nil {
		var none A
		return none, NoMatch
	}
	return t.root.match(d, kept)
}

// A node is a matcher.
type node[D, A any] interface {
	match(D, func(A)) (A, Outcome)
}

// onMatch is what follows a match: another matcher, or an action.
type onMatch[D, A any] struct {
	inner  node[D, A] // nil: action
	action A
	keep   bool
}

// take returns what follows; o may be nil.
func (o *onMatch[D, A]) take(d D, kept func(A)) (A, Outcome) {
	var none A
	if o == nil {
		return none, NoMatch
	}
	a, out := o.action, Matched
	if o.inner != nil {
		a, out = o.inner.match(d, kept)
	}
	if out == Matched && o.keep {
		if kept != nil {
			kept(a)
		}
		return none, NoMatch
	}
	return a, out
}

// A list tries its fields in order.
type list[D, A any] struct {
	fields  []field[D, A]
	noMatch *onMatch[D, A]
}

type field[D, A any] struct {
	fits    predicate[D]
	onMatch *onMatch[D, A]
}

func (l *list[D, A]) match(d D, kept func(A)) (A, Outcome) {
	for i := range l.fields {
		switch l.fields[i].fits(d) {
		case Undecided:
			var none A
			return none, Undecided
		case Matched:
			if a, out := l.fields[i].onMatch.take(d, kept); out != NoMatch {
				return a, out
			}
		}
	}
	return l.noMatch.take(d, kept)
}

// A tree looks up one input.
type tree[D, A any] struct {
	input   Input[D]
	entries lookup[D, A]
	whole   bool // entries cannot be looked up before the whole value is known
	noMatch *onMatch[D, A]
}

// A lookup finds what follows a value.
type lookup[D, A any] interface {
	find(Value, D, func(A)) (A, Outcome)
}

func (t *tree[D, A]) match(d D, kept func(A)) (A, Outcome) {
	var none A
	v := t.input(d)
	if v.later == pending || v.later == growing && t.whole {
		return none, Undecided
	}
	if v.kind != nothing {
		if a, out := t.entries.find(v, d, kept); out != NoMatch {
			return a, out
		}
	}
	if v.later == growing {
		return none, Undecided
	}
	return t.noMatch.take(d, kept)
}
