package admin

import (
	"cmp"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ginnel/ginnel/internal/inproc"
)

// The shape of /inproc. Names of fields with a unit carry it.
type inprocDump struct {
	Totals    inprocTotals     `json:"totals"`
	Listeners []inprocListener `json:"listeners"`
}

// inprocTotals counts what is shown; the last two are of the whole network.
type inprocTotals struct {
	Listeners  int    `json:"listeners"`
	Open       int    `json:"open"`
	HandedOver uint64 `json:"handed_over"`
	Piped      uint64 `json:"piped"`
	Refused    uint64 `json:"refused"`
	Received   uint64 `json:"received_bytes"` // of the open connections
	Sent       uint64 `json:"sent_bytes"`
	Buffered   uint64 `json:"buffered_bytes"`
	NoListener uint64 `json:"no_listener"`
	HopLimit   uint64 `json:"hop_limit_exceeded"`
}

type inprocListener struct {
	inproc.Counts
	// Active tells that the name can be dialled; a removed listener is shown as long
	// as it has connections.
	Active      bool         `json:"active"`
	Open        int          `json:"open"`
	Connections []inprocConn `json:"connections"`
}

type inprocConn struct {
	ID          uint64   `json:"id"`
	ChainID     string   `json:"chain_id"`
	Path        []string `json:"path"`
	Depth       int      `json:"depth"`
	From        string   `json:"from"` // the listener before in the path; "": a Go program dialled
	HandedOver  bool     `json:"handed_over"`
	AgeMS       int64    `json:"age_ms"`
	Received    uint64   `json:"received_bytes"`
	Sent        uint64   `json:"sent_bytes"`
	BufferedIn  uint64   `json:"buffered_in_bytes"`
	BufferedOut uint64   `json:"buffered_out_bytes"`
}

const defaultConns = 1000 // shown for each listener

func (s *Server) inproc(w http.ResponseWriter, r *http.Request) {
	limit, err := strconv.Atoi(cmp.Or(r.Form.Get("limit"), strconv.Itoa(defaultConns)))
	if err != nil || limit < 0 {
		text(w, http.StatusBadRequest, "limit must be a whole number, 0 for all\n")
		return
	}
	// Connections first: one that ends in between is then missing in both.
	conns := s.opts.Proxy.Connections()
	d := gather(s.opts.Proxy.Inproc(), conns, time.Now())
	if r.Form.Has("listener") {
		d.only(r.Form.Get("listener"))
	}
	d.sum()
	d.cut(limit)
	if r.Form.Get("format") == "text" {
		text(w, http.StatusOK, d.text())
		return
	}
	value(w, d)
}

// gather puts the open connections with their listeners, in the order of names, and
// the oldest connection first.
func gather(st inproc.Stats, open []InprocConn, now time.Time) *inprocDump {
	d := &inprocDump{
		Totals:    inprocTotals{NoListener: st.NoListener, HopLimit: st.HopLimit},
		Listeners: []inprocListener{},
	}
	at := make(map[string]int)
	add := func(c inproc.Counts, active bool) {
		at[c.Name] = len(d.Listeners)
		d.Listeners = append(d.Listeners, inprocListener{Counts: c, Active: active, Connections: []inprocConn{}})
	}
	for _, c := range st.Names {
		add(c, true)
	}
	slices.SortFunc(open, func(a, b InprocConn) int { return cmp.Compare(a.ID, b.ID) })
	for i := range open {
		name := open[i].Path[len(open[i].Path)-1]
		if _, ok := at[name]; !ok {
			add(inproc.Counts{Name: name}, false)
		}
		l := &d.Listeners[at[name]]
		l.Open++
		l.Connections = append(l.Connections, open[i].shown(now))
	}
	slices.SortStableFunc(d.Listeners, func(a, b inprocListener) int { return cmp.Compare(a.Name, b.Name) })
	return d
}

func (c *InprocConn) shown(now time.Time) inprocConn {
	out := inprocConn{
		ID: c.ID, ChainID: fmt.Sprintf("%016x", c.ChainID),
		Path: c.Path, Depth: len(c.Path) - 1,
		HandedOver: !c.Piped, AgeMS: now.Sub(c.Start).Milliseconds(),
		Received: c.Received, Sent: c.Sent,
		BufferedIn: c.BufferedIn, BufferedOut: c.BufferedOut,
	}
	if out.Depth > 0 {
		out.From = c.Path[out.Depth-1]
	}
	return out
}

func (d *inprocDump) only(name string) {
	kept := []inprocListener{}
	for _, l := range d.Listeners {
		if l.Name == name {
			kept = append(kept, l)
		}
	}
	d.Listeners = kept
}

func (d *inprocDump) sum() {
	t := &d.Totals
	t.Listeners = len(d.Listeners)
	for i := range d.Listeners {
		l := &d.Listeners[i]
		t.Open += l.Open
		t.HandedOver += l.HandedOver
		t.Piped += l.Piped
		t.Refused += l.Refused
		for _, c := range l.Connections {
			t.Received += c.Received
			t.Sent += c.Sent
			t.Buffered += c.BufferedIn + c.BufferedOut
		}
	}
}

// cut leaves at most limit connections of each listener; 0: all.
func (d *inprocDump) cut(limit int) {
	for i := range d.Listeners {
		if l := &d.Listeners[i]; limit > 0 && len(l.Connections) > limit {
			l.Connections = l.Connections[:limit]
		}
	}
}

func (d *inprocDump) text() string {
	var b strings.Builder
	t := &d.Totals
	fmt.Fprintf(&b, "%d listeners, %d open connections: %d bytes received, %d sent, %d buffered\n", t.Listeners, t.Open, t.Received, t.Sent, t.Buffered)
	fmt.Fprintf(&b, "%d handed over, %d piped, %d refused, %d without a listener, %d over the hop limit\n", t.HandedOver, t.Piped, t.Refused, t.NoListener, t.HopLimit)
	for i := range d.Listeners {
		d.Listeners[i].write(&b)
	}
	return b.String()
}

func (l *inprocListener) write(b *strings.Builder) {
	fmt.Fprintf(b, "\n%s: %d open, %d handed over, %d piped, %d refused", l.Name, l.Open, l.HandedOver, l.Piped, l.Refused)
	if !l.Active {
		b.WriteString(", removed")
	}
	b.WriteByte('\n')
	for i := range l.Connections {
		l.Connections[i].write(b)
	}
	if more := l.Open - len(l.Connections); more > 0 {
		fmt.Fprintf(b, "  and %d more\n", more)
	}
}

func (c *inprocConn) write(b *strings.Builder) {
	way := "piped"
	if c.HandedOver {
		way = "handed over"
	}
	fmt.Fprintf(b, "  %d chain %s %s: %s, %v old, %d bytes received, %d sent, %d+%d buffered\n",
		c.ID, c.ChainID, strings.Join(c.Path, " -> "), way, time.Duration(c.AgeMS)*time.Millisecond,
		c.Received, c.Sent, c.BufferedIn, c.BufferedOut)
}
