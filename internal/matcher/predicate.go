package matcher

// A predicate tells whether a D fits.
type predicate[D any] func(D) Outcome

// single judges one input.
func single[D any](in Input[D], fits func(Value, D) bool) predicate[D] {
	return func(d D) Outcome {
		v := in(d)
		switch {
		case v.later == pending:
			return Undecided
		case v.kind != nothing && fits(v, d):
			return Matched
		case v.later == growing:
			return Undecided
		}
		return NoMatch
	}
}

// and needs all; the first that does not match decides (Envoy).
func and[D any](all []predicate[D]) predicate[D] {
	return func(d D) Outcome {
		for _, p := range all {
			if out := p(d); out != Matched {
				return out
			}
		}
		return Matched
	}
}

// or needs one.
func or[D any](some []predicate[D]) predicate[D] {
	return func(d D) Outcome {
		none := NoMatch
		for _, p := range some {
			switch p(d) {
			case Matched:
				return Matched
			case Undecided:
				none = Undecided
			}
		}
		return none
	}
}

func not[D any](p predicate[D]) predicate[D] {
	return func(d D) Outcome {
		switch p(d) {
		case Matched:
			return NoMatch
		case NoMatch:
			return Matched
		}
		return Undecided
	}
}
