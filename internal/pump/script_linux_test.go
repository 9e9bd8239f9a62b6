package pump

import (
	"fmt"
	"math/rand/v2"
	"strings"

	"github.com/ginnel/ginnel/filter"
)

// A script is a random life of one connection between two sockets, as a function of
// its seed; but for the moments at which things meet.
type script struct {
	seed   uint64
	parts  [2]part // by filter.Direction: who sends
	hops   int
	buffer int // BufferBytes
	first  string
	limit  string // of one hop, which may strike soon
	local  bool   // CloseLocal of one hop at some moment
	shut   bool   // Group.Close at some moment
	settle bool   // others settle all the time
	at     int    // the hop of limit or local
	delay  [2]int // turns of the scheduler before that
	polled bool   // the Go poller knows our sockets
}

// A part is what one peer does: steps and then its end, while it reads at the same
// time.
type part struct {
	kind   string // as for open
	tiny   string // whose kernel buffers are tiny: "peer's", "ours", "both"
	steps  []step
	end    string
	reads  int // bytes after which it stops reading; all: never
	most   int // of one read
	pauses int // turns of the scheduler between two reads
}

const all = -1

// A step of a part: write n bytes in pieces of at most so many, send an urgent byte,
// send bytes that leave together with what follows, or wait until its own reader has
// got n bytes in all.
type step struct {
	op    string
	n     int
	piece int
}

// The ends of a part.
var partEnds = []string{
	"half", "half", "half", // and read on to the end
	"nothing", // but to close when the reader has come to the end
	"close", "flushed close", "half close",
	"reset", "flushed reset", "half reset",
}

func newScript(seed uint64, kinds []string) *script {
	rnd := rand.New(rand.NewPCG(seed, 1))
	s := &script{seed: seed, hops: 1 + rnd.IntN(4), settle: rnd.IntN(4) == 0, polled: rnd.IntN(2) == 0}
	for d := range s.parts {
		s.parts[d].draw(rnd, kinds)
	}
	if rnd.IntN(3) == 0 {
		s.buffer = []int{1, 2, 100, 4096, 5000, 16 << 10, 100_000, 1 << 20}[rnd.IntN(8)]
	}
	s.drawSteps(rnd)
	s.first = []string{"", "", "", "passes", "refuses"}[rnd.IntN(5)]
	s.at = rnd.IntN(s.hops)
	s.delay = [2]int{rnd.IntN(1 << rnd.IntN(12)), rnd.IntN(1 << rnd.IntN(12))}
	switch rnd.IntN(16) {
	case 0, 1:
		s.local = true
	case 2:
		s.limit = "idle"
	case 3:
		s.limit = "deadline"
	case 4:
		s.limit = "client full"
	case 5:
		s.limit = "host full"
	case 6:
		s.shut = !s.mayStick()
	}
	return s
}

func (p *part) draw(rnd *rand.Rand, kinds []string) {
	p.kind = kinds[rnd.IntN(len(kinds))]
	if rnd.IntN(8) == 0 && p.kind != "pipe" {
		p.tiny = []string{"peer's", "ours", "both"}[rnd.IntN(3)]
	}
	p.end = partEnds[rnd.IntN(len(partEnds))]
	p.reads, p.most = all, 1+rnd.IntN(1<<rnd.IntN(18))
	if rnd.IntN(6) == 0 {
		p.reads = rnd.IntN(1 << rnd.IntN(16))
	}
	if rnd.IntN(4) == 0 {
		p.pauses = rnd.IntN(100)
	}
}

// drawSteps draws them in an order of time, so that whoever waits for bytes waits for
// such as are written before.
func (s *script) drawSteps(rnd *rand.Rand) {
	most := 1 << 20
	if s.buffer > 0 {
		most = min(most, 500*s.buffer)
	}
	for d := range s.parts {
		if s.parts[d].tiny != "" {
			most = min(most, 10_000)
		}
		if p := &s.parts[d]; p.most < 256 {
			most = min(most, 2000*p.most)
		}
	}
	total := [2]int{}
	for range rnd.IntN(7) {
		d := rnd.IntN(2)
		p := &s.parts[d]
		switch op := rnd.IntN(10); {
		case op < 1:
			if p.kind != "pipe" {
				p.steps = append(p.steps, step{op: "urgent"})
			}
		case op < 4 && p.reads == all:
			p.steps = append(p.steps, step{op: "await", n: total[1-d]})
		default:
			n := rnd.IntN(1 << rnd.IntN(21))
			n = min(n, most)
			total[d] += n
			op := "write"
			if rnd.IntN(4) == 0 {
				op = "hold"
			}
			p.steps = append(p.steps, step{op: op, n: n, piece: 1 + max(n/300, rnd.IntN(1<<rnd.IntN(18)))})
		}
	}
}

// mayStick reports whether nobody needs ever end it.
func (s *script) mayStick() bool {
	ends := false
	for d := range s.parts {
		p := &s.parts[d]
		if p.reads != all || p.overtakes() {
			return true
		}
		ends = ends || p.end != "nothing"
	}
	return !ends
}

// overtakes reports whether a part resets what is on its way into tiny buffers: the
// kernel of the other side drops a reset from behind its window, and nobody sends it
// again.
func (p *part) overtakes() bool {
	return p.tiny != "" && (p.end == "reset" || p.end == "half reset")
}

func (s *script) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d hops", s.hops)
	for _, x := range []struct {
		is   bool
		text string
	}{
		{s.buffer > 0, fmt.Sprintf("%d buffer bytes", s.buffer)}, {s.first != "", "first " + s.first},
		{s.local, fmt.Sprintf("CloseLocal of hop %d after %d turns", s.at, s.delay[0])},
		{s.limit != "", fmt.Sprintf("%s of hop %d", s.limit, s.at)},
		{s.shut, fmt.Sprintf("Group.Close after %d turns", s.delay[0])}, {s.settle, "settled"}, {s.polled, "polled"},
	} {
		if x.is {
			b.WriteString(", " + x.text)
		}
	}
	fmt.Fprintf(&b, "\nclient: %v\nhost: %v", &s.parts[0], &s.parts[1])
	return b.String()
}

func (p *part) String() string {
	var b strings.Builder
	b.WriteString(p.kind)
	if p.tiny != "" {
		fmt.Fprintf(&b, ", %s buffers are tiny", p.tiny)
	}
	if p.reads == all {
		fmt.Fprintf(&b, ", reads all by %d", p.most)
	} else {
		fmt.Fprintf(&b, ", reads %d by %d", p.reads, p.most)
	}
	for _, x := range p.steps {
		fmt.Fprintf(&b, "; %s", x.op)
		if x.op != "urgent" {
			fmt.Fprintf(&b, " %d", x.n)
		}
		if x.piece > 0 {
			fmt.Fprintf(&b, " by %d", x.piece)
		}
	}
	return b.String() + "; " + p.end
}

// may returns the causes that the end of a part can lead to, if its side is the one
// that ends the pump.
func (s *script) may(d filter.Direction) (c []filter.Cause) {
	p := &s.parts[d]
	switch p.end {
	case "half", "nothing":
		return []filter.Cause{causeOf[d][0]}
	case "reset", "flushed reset":
		if p.kind != "unix" { // whose reset is a close
			return []filter.Cause{causeOf[d][1]}
		}
	case "close", "flushed close", "half close":
		if p.kind == "pipe" {
			return []filter.Cause{causeOf[d][0]}
		}
	}
	return causeOf[d][:]
}

// causeOf a side that has closed or reset.
var causeOf = [2][2]filter.Cause{
	{filter.DownstreamClosed, filter.DownstreamReset},
	{filter.UpstreamClosed, filter.UpstreamReset},
}

// resets reports whether a part ends with a reset that cannot be mistaken.
func (p *part) resets() bool {
	return p.kind != "unix" && (p.end == "reset" || p.end == "flushed reset")
}

// patient reports whether a part reads to the end and does not end the connection as
// a whole before.
func (p *part) patient() bool {
	return p.reads == all && (p.end == "half" || p.end == "nothing")
}
