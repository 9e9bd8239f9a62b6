package upstream

// A memberList is members in an order, linked through themselves: which of their links is
// used tells the list. A member is in it once.
type memberList struct {
	link        int // index of member.links
	first, last *member
	n           int
}

type link struct {
	prev, next *member
	in         bool
}

// The links of a member.
const (
	birthLink = iota
	readyLink
	links
)

func (l *memberList) has(m *member) bool { return m.links[l.link].in }

// push puts m at the end, if it is not in the list.
func (l *memberList) push(m *member) {
	if l.has(m) {
		return
	}
	m.links[l.link] = link{prev: l.last, in: true}
	if l.last != nil {
		l.last.links[l.link].next = m
	} else {
		l.first = m
	}
	l.last = m
	l.n++
}

// remove takes m out, if it is in the list.
func (l *memberList) remove(m *member) {
	k := m.links[l.link]
	if !k.in {
		return
	}
	if k.prev != nil {
		k.prev.links[l.link].next = k.next
	} else {
		l.first = k.next
	}
	if k.next != nil {
		k.next.links[l.link].prev = k.prev
	} else {
		l.last = k.prev
	}
	m.links[l.link] = link{}
	l.n--
}

// all returns the members from the first on, to be ranged over; the current one may be
// removed meanwhile.
func (l *memberList) all(yield func(*member) bool) {
	for m := l.first; m != nil; {
		next := m.links[l.link].next
		if !yield(m) {
			return
		}
		m = next
	}
}
