package health

import (
	"bytes"
	"context"

	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/internal/plan"
	"github.com/ginnel/ginnel/internal/proxyproto"
)

// A tcpAsker checks by bytes, or by connecting alone.
type tcpAsker struct {
	host *Host
	plan *plan.TCPCheck
	conn filter.Stream // kept between checks; nil: none
	met  bool          // conn has had its PROXY header
}

// mostBytes is how much a host may say without what is expected.
const mostBytes = 64 << 10

func (a *tcpAsker) ask(ctx context.Context) verdict {
	if a.conn == nil {
		conn, err := a.host.target.Dial(ctx)
		if err != nil {
			return verdict{network: true}
		}
		a.conn, a.met = conn, false
	}
	if len(a.plan.Receive) == 0 { // that it connects says it all (Envoy)
		a.close()
		return verdict{passed: true}
	}
	conn, done := a.conn, make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		conn.Close()
		close(done)
	})
	ok := a.talk(conn)
	if !stop() {
		<-done
		ok = false
	}
	if !ok || a.host.checker.opts.Plan.OneConnection {
		a.close()
	}
	return verdict{passed: ok, network: !ok}
}

func (a *tcpAsker) talk(conn filter.Stream) bool {
	if first := a.first(conn); len(first) > 0 {
		if _, err := conn.Write(first); err != nil {
			return false
		}
	}
	var got []byte
	buf := make([]byte, 4096)
	for len(got) < mostBytes {
		n, err := conn.Read(buf)
		if got = append(got, buf[:n]...); inOrder(got, a.plan.Receive) {
			return true
		}
		if err != nil {
			return false
		}
	}
	return false
}

// first is what is said to the host, on a new connection behind a PROXY header. In version 2
// that says that the connection is the proxy's own.
func (a *tcpAsker) first(conn filter.Stream) []byte {
	if a.plan.Proxy == 0 || a.met {
		return a.plan.Send
	}
	a.met = true
	var head []byte
	if h := (proxyproto.Header{Local: true}); a.plan.Proxy == 2 {
		head, _ = h.Append2(nil)
	} else {
		h.Local = false
		h.Source, _ = filter.IP(conn.LocalAddr())
		h.Destination, _ = filter.IP(conn.RemoteAddr())
		head = h.Append1(nil)
	}
	return append(head, a.plan.Send...)
}

// inOrder reports whether p holds all parts, one behind the other, perhaps with more
// between them.
func inOrder(p []byte, parts [][]byte) bool {
	for _, part := range parts {
		i := bytes.Index(p, part)
		if i < 0 {
			return false
		}
		p = p[i+len(part):]
	}
	return true
}

func (a *tcpAsker) close() {
	if a.conn != nil {
		a.conn.Close()
		a.conn = nil
	}
}
