package http2

import (
	"bytes"
	"io"
	"testing"
	"time"

	xhttp2 "golang.org/x/net/http2"

	"github.com/ginnel/ginnel/httpmsg"
)

// A recording is a Conn that plays bytes, and drops what is written to it.
type recording struct {
	io.Reader
	written int
}

func (r *recording) Write(p []byte) (int, error) {
	r.written += len(p)
	return len(p), nil
}
func (r *recording) Close() error                     { return nil }
func (r *recording) CloseWrite() error                { return nil }
func (r *recording) SetReadDeadline(time.Time) error  { return nil }
func (r *recording) SetWriteDeadline(time.Time) error { return nil }

// FuzzServer plays frames to a server: it must end, hold no more than its windows, and
// say no more than a little for what it was sent.
func FuzzServer(f *testing.F) {
	var b bytes.Buffer
	var p *peer
	fresh := func() {
		b.Reset()
		p = newPeerWriter(&b)
		_ = p.fr.WriteSettings()
	}
	fresh()
	p.post(1, "content-length: 3", "cookie: a", "cookie: b")
	_ = p.fr.WriteData(1, false, []byte("abc"))
	p.headers(1, true, "x-trailer: 1")
	p.get(3)
	_ = p.fr.WriteRSTStream(3, 8)
	_ = p.fr.WriteWindowUpdate(0, 10)
	f.Add(bytes.Clone(b.Bytes()))
	fresh()
	_ = p.fr.WriteSettings(xhttp2.Setting{ID: 4, Val: 0}, xhttp2.Setting{ID: 1, Val: 0}, xhttp2.Setting{ID: 5, Val: 1 << 20})
	p.headers(1, false, ":method: CONNECT", ":protocol: websocket", ":scheme: http", ":path: /", ":authority: a")
	_ = p.fr.WriteDataPadded(1, false, []byte("abc"), make([]byte, 9))
	_ = p.fr.WriteWindowUpdate(1, 100)
	_ = p.fr.WritePing(false, [8]byte{})
	_ = p.fr.WritePriority(1, xhttp2.PriorityParam{StreamDep: 3})
	_ = p.fr.WriteGoAway(0, 0, []byte("bye"))
	f.Add(bytes.Clone(b.Bytes()))
	f.Fuzz(func(t *testing.T, frames []byte) {
		o := &ServerOptions{Options: Options{AllowConnect: true, StreamErrors: len(frames)%2 == 0, DelayedClose: -1}}
		nc := &recording{Reader: io.MultiReader(bytes.NewReader([]byte(clientPreface)), bytes.NewReader(frames))}
		s := NewServer(nc, o, &handler{answer: echo})
		_ = s.Serve()
		if len(s.streams) != 0 || s.running != 0 || s.blocked != 0 || s.line.first != nil {
			t.Errorf("left: %d streams, %d answers, %d blocked", len(s.streams), s.running, s.blocked)
		}
		if most := 1000 + 100*len(frames); nc.written > most {
			t.Errorf("%d bytes were written for %d", nc.written, len(frames))
		}
	})
}

// FuzzClient plays frames to a client with requests under way.
func FuzzClient(f *testing.F) {
	var b bytes.Buffer
	p := newPeerWriter(&b)
	_ = p.fr.WriteSettings()
	p.headers(1, false, ":status: 103", "link: x")
	p.headers(1, false, ":status: 200", "content-length: 3")
	_ = p.fr.WriteData(1, true, []byte("abc"))
	_ = p.fr.WriteRSTStream(3, 7)
	_ = p.fr.WriteGoAway(5, 0, nil)
	p.headers(5, true, ":status: 204")
	f.Add(bytes.Clone(b.Bytes()))
	f.Fuzz(func(t *testing.T, frames []byte) {
		r, w := io.Pipe()
		v := NewClient(&recording{Reader: r}, nil, newOwner())
		var xs []httpmsg.Exchange
		for range 3 {
			x := v.Open()
			_ = x.WriteRequest(get("/"), false)
			xs = append(xs, x)
		}
		_, _ = w.Write(frames)
		_ = w.Close()
		for _, x := range xs {
			if r, err := x.ReadResponse(); err == nil {
				_, _, _ = readAll(r.Body)
			}
			x.Release()
		}
		if v.active != 0 || len(v.streams) != 0 {
			t.Errorf("left: %d exchanges, %d streams", v.active, len(v.streams))
		}
	})
}
