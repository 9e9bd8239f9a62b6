package http2

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	xhttp2 "golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/ginnel/ginnel/internal/inproc/pipe"
)

// A peer speaks frames with x/net's framer, so that no mistake of ours hides another one.
type peer struct {
	t   testing.TB
	nc  *pipe.Conn
	fr  *xhttp2.Framer
	enc *hpack.Encoder
	buf bytes.Buffer
	dec *hpack.Decoder
}

func newPeer(t testing.TB, nc *pipe.Conn) *peer {
	p := &peer{t: t, nc: nc, fr: xhttp2.NewFramer(nc, nc), dec: hpack.NewDecoder(4096, nil)}
	p.fr.AllowIllegalWrites = true
	p.fr.ReadMetaHeaders = p.dec
	p.enc = hpack.NewEncoder(&p.buf)
	_ = nc.SetDeadline(time.Now().Add(10 * time.Second))
	return p
}

// newPeerWriter returns a peer that only writes.
func newPeerWriter(w io.Writer) *peer {
	p := &peer{fr: xhttp2.NewFramer(w, nil)}
	p.fr.AllowIllegalWrites = true
	p.enc = hpack.NewEncoder(&p.buf)
	return p
}

// block encodes fields given as "name: value".
func (p *peer) block(fields ...string) []byte {
	p.buf.Reset()
	for _, f := range fields {
		i := strings.Index(f[1:], ":") + 1
		_ = p.enc.WriteField(hpack.HeaderField{Name: f[:i], Value: strings.TrimPrefix(f[i+1:], " ")})
	}
	return bytes.Clone(p.buf.Bytes())
}

// headers writes a head, in as many frames as it takes.
func (p *peer) headers(id uint32, end bool, fields ...string) {
	block := p.block(fields...)
	n := min(len(block), maxFrameSize)
	_ = p.fr.WriteHeaders(xhttp2.HeadersFrameParam{
		StreamID: id, BlockFragment: block[:n], EndHeaders: n == len(block), EndStream: end,
	})
	for block = block[n:]; len(block) > 0; block = block[n:] {
		n = min(len(block), maxFrameSize)
		_ = p.fr.WriteContinuation(id, n == len(block), block[:n])
	}
}

var getFields = []string{":method: GET", ":scheme: http", ":path: /", ":authority: a.test"}
var postFields = []string{":method: POST", ":scheme: http", ":path: /", ":authority: a.test"}

func with(fields []string, more ...string) []string {
	return append(fields[:len(fields):len(fields)], more...)
}

func (p *peer) get(id uint32, more ...string)  { p.headers(id, true, with(getFields, more...)...) }
func (p *peer) post(id uint32, more ...string) { p.headers(id, false, with(postFields, more...)...) }

// next reads a frame and returns it in words; frames that every connection begins with
// are passed over. "EOF" is the end.
func (p *peer) next() string {
	for {
		f, err := p.fr.ReadFrame()
		if err == io.EOF {
			return "EOF"
		}
		if err != nil {
			return err.Error()
		}
		if s := describe(f); s != "" {
			return s
		}
	}
}

func describe(f xhttp2.Frame) string {
	id := f.Header().StreamID
	end := ""
	if k := f.Header().Type; f.Header().Flags&1 != 0 && (k == xhttp2.FrameData || k == xhttp2.FrameHeaders) {
		end = " END"
	}
	switch f := f.(type) {
	case *xhttp2.MetaHeadersFrame:
		return fmt.Sprintf("HEADERS %d %s%s", id, f.PseudoValue("status"), end)
	case *xhttp2.DataFrame:
		return fmt.Sprintf("DATA %d %d%s", id, len(f.Data()), end)
	case *xhttp2.RSTStreamFrame:
		return fmt.Sprintf("RST %d %v", id, f.ErrCode)
	case *xhttp2.GoAwayFrame:
		return fmt.Sprintf("GOAWAY %d %v", f.LastStreamID, f.ErrCode)
	case *xhttp2.PingFrame:
		return fmt.Sprintf("PING %x", f.Data[0])
	case *xhttp2.WindowUpdateFrame:
		if id != 0 {
			return fmt.Sprintf("WINDOW_UPDATE %d %d", id, f.Increment)
		}
	}
	return ""
}

// expect reads what is wanted, and then nothing more: a PING is answered at once, or the
// connection has ended.
func (p *peer) expect(want ...string) {
	p.t.Helper()
	for i, w := range want {
		if got := p.next(); got != w {
			p.t.Fatalf("frame %d is %q, not %q", i, got, w)
		}
		if w == "EOF" {
			return
		}
	}
	_ = p.fr.WritePing(false, [8]byte{0xff})
	if got := p.next(); got != "PING ff" {
		p.t.Fatalf("then %q, not the answer to PING", got)
	}
}

// dialServer returns a peer of a server, behind the preface and SETTINGS.
func dialServer(t testing.TB, o *ServerOptions, h *handler) *peer {
	_, p, served := serve(t, pipe.Options{}, o, h)
	t.Cleanup(func() {
		_ = p.nc.Close()
		<-served
	})
	return p
}

// serve returns a server and its peer, behind the preface and SETTINGS. What Serve returns
// comes by the channel.
func serve(t testing.TB, pipes pipe.Options, o *ServerOptions, h *handler) (s *Server, p *peer, served chan error) {
	a, b := pipe.New(pipes)
	s, served = NewServer(b, o, h), make(chan error, 1)
	go func() { served <- s.Serve() }()
	p = newPeer(t, a)
	_, _ = io.WriteString(a, clientPreface)
	_ = p.fr.WriteSettings()
	return s, p, served
}
