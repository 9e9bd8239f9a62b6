package pump

import (
	"slices"

	"github.com/ginnel/ginnel/filter"
)

// judge checks what must hold.
func (x *scene) judge() {
	if !slices.Equal(x.order, x.hops) {
		x.Error("Ended not from inner to outer")
	}
	x.judgeCause()
	x.judgeHops()
	for d := range x.peers {
		x.judgeBytes(filter.Direction(d))
	}
	if up := x.moved(0); x.script.first == "refuses" && up > 0 || x.script.first != "" && up > 0 && x.firsts.Load() != 1 || x.firsts.Load() > 1 {
		x.Errorf("%s, called %d times, %d bytes", x.script.first, x.firsts.Load(), up)
	}
}

// loose reports whether the pump may have been ended for another reason than its
// peers.
func (x *scene) loose() bool {
	s := x.script
	return s.local || s.shut || s.limit != "" || len(x.acts) > 0 || s.first == "refuses"
}

// verdict is the cause, as the hop it belongs to was told.
func (x *scene) verdict() (v filter.Ending, at int) {
	for i, e := range x.ending {
		if local(e.Cause) {
			return e, i
		}
	}
	return x.ending[0], 0
}

func (x *scene) judgeCause() {
	s := x.script
	v, _ := x.verdict()
	var may []filter.Cause
	c, h := &s.parts[0], &s.parts[1]
	if !(h.resets() && c.patient()) || x.loose() {
		may = append(may, s.may(0)...)
	}
	if !(c.resets() && h.patient()) || x.loose() {
		may = append(may, s.may(1)...)
	}
	switch s.limit {
	case "idle":
		may = append(may, filter.IdleTimeout)
	case "deadline":
		may = append(may, filter.DurationReached)
	case "client full":
		may = append(may, filter.DownstreamHighWatermarkReached)
	case "host full":
		may = append(may, filter.UpstreamHighWatermarkReached)
	}
	if len(x.acts) > 0 {
		may = append(may, filter.DownstreamClosed, filter.DownstreamReset, filter.UpstreamClosed, filter.UpstreamReset)
	}
	if v.Cause == filter.LocalClose {
		if ok := map[string]bool{"disturbed": s.local, "shutdown": s.shut, "stuck": len(x.acts) > 0, "refuses": s.first == "refuses"}[v.Reason]; !ok {
			x.Errorf("closed because %q", v.Reason)
		}
		return
	}
	if !slices.Contains(may, v.Cause) {
		x.Errorf("cause %d is not one of %d", v.Cause, may)
	}
}

// judgeHops checks how an end looks from each hop, and that all counted the same; but what
// the innermost refused has passed the others.
func (x *scene) judgeHops() {
	v, at := x.verdict()
	for i, h := range x.hops {
		want := v
		if ofOne := v.Reason != "shutdown" && v.Reason != "stuck"; local(v.Cause) && ofOne {
			if is := x.script.at; v.Reason != "refuses" && at != is {
				x.Errorf("hop %d ended for the reason of hop %d", at, is)
			}
			switch {
			case i < at:
				want = filter.Ending{Cause: filter.DownstreamClosed}
			case i > at:
				want = filter.Ending{Cause: filter.UpstreamClosed}
			}
		}
		if x.ending[i] != want {
			x.Errorf("hop %d: %+v, want %+v", i, x.ending[i], want)
		}
		passed := x.moved(0)
		if i > 0 && x.script.first == "refuses" {
			up, _ := x.hops[1].moved()
			passed = int64(up)
			if client := x.peers[0]; passed > client.sent.Load()+client.sentUrgent.Load() {
				x.Errorf("%d bytes were refused", passed)
			}
		}
		if up, down := h.moved(); int64(up) != passed || int64(down) != x.moved(1) {
			x.Errorf("hop %d: moved %d, %d, not %d, %d", i, up, down, passed, x.moved(1))
		}
	}
}

// judgeBytes compares what one peer sent with what the other has read, and how that
// ended.
func (x *scene) judgeBytes(from filter.Direction) {
	w, r := x.peers[from], x.peers[1-from]
	sent, urgents, got, moved := w.sent.Load(), w.sentUrgent.Load(), r.got.Load()+r.gotUrgent.Load(), x.moved(from)
	if r.wrong != nil {
		x.Errorf("from %d: %v", from, r.wrong)
	}
	if r.got.Load() > sent || r.gotUrgent.Load() > urgents {
		x.Errorf("from %d: more than was sent", from)
	}
	if got > moved || moved > sent+urgents {
		x.Errorf("from %d: moved %d", from, moved)
	}
	v, _ := x.verdict()
	whole := !x.loose() || !local(v.Cause) && r.patient()
	wasReset := v.Cause == filter.DownstreamReset || v.Cause == filter.UpstreamReset
	if r.lastWord() == "EOF" {
		if got != moved {
			x.Errorf("from %d: %d bytes of %d before the end", from, got, moved)
		}
		// On a Unix socket a reset cannot be told from an end.
		if whole && r.got.Load() != sent && !(wasReset && r.kind == "unix") {
			x.Errorf("from %d: the end after %d of %d", from, r.got.Load(), sent)
		}
	}
	if x.loose() || !r.patient() {
		return
	}
	switch {
	case w.patient() && r.lastWord() != "EOF":
		x.Errorf("from %d: read to %s", from, r.lastWord())
	case w.resets() && r.kind != "unix" && r.lastWord() != "reset":
		x.Errorf("from %d: no reset but %s", from, r.lastWord())
	case x.group == x.theatre.brisk: // it lets go
	case w.end == "flushed reset" && w.acked && r.got.Load() != sent:
		x.Errorf("from %d: a reset after %d of %d", from, r.got.Load(), sent)
	case got != moved:
		x.Errorf("from %d: %d of %d bytes before a reset", from, got, moved)
	}
}
