package http2

import (
	"testing"
	"testing/synctest"
	"time"

	xhttp2 "golang.org/x/net/http2"

	"github.com/ginnel/ginnel/httpmsg"
)

// TestHeadTimeout: a head that does not end in time is refused, however its pieces come;
// the rest of it is dropped, and the connection goes on.
func TestHeadTimeout(t *testing.T) {
	block := func(p *peer) []byte { return p.block(with(getFields, "x: y")...) }
	half := func(p *peer) []byte {
		b := block(p)
		_ = p.fr.WriteHeaders(xhttp2.HeadersFrameParam{StreamID: 1, BlockFragment: b[:4], EndStream: true})
		return b[4:]
	}
	for name, begin := range map[string]func(*peer) (rest func()){
		"HEADERS": func(p *peer) func() {
			rest := half(p)
			return func() { _ = p.fr.WriteContinuation(1, true, rest) }
		},
		"drops": func(p *peer) func() {
			rest := half(p)
			for range 3 {
				time.Sleep(20 * time.Second)
				_ = p.fr.WriteContinuation(1, false, rest[:1])
				rest = rest[1:]
			}
			return func() { _ = p.fr.WriteContinuation(1, true, rest) }
		},
		"a part of HEADERS": func(p *peer) func() {
			b := block(p)
			frame := appendFrameHeader(nil, xhttp2.FrameHeaders, xhttp2.FlagHeadersEndHeaders|xhttp2.FlagHeadersEndStream, 1, len(b))
			frame = append(frame, b...)
			_, _ = p.nc.Write(frame[:11])
			return func() { _, _ = p.nc.Write(frame[11:]) }
		},
		"a part of CONTINUATION": func(p *peer) func() {
			rest := half(p)
			frame := appendFrameHeader(nil, xhttp2.FrameContinuation, xhttp2.FlagContinuationEndHeaders, 1, len(rest))
			frame = append(frame, rest...)
			_, _ = p.nc.Write(frame[:10])
			return func() { _, _ = p.nc.Write(frame[10:]) }
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				refused := make(chan *httpmsg.ResetError, 1)
				p := dialServer(t, &ServerOptions{RequestHeadersTimeout: time.Minute + 1}, &handler{
					answer: readThenAnswer,
					refuse: func(_ *httpmsg.Request, status int, why *httpmsg.ResetError) {
						if status == 408 {
							refused <- why
						}
					},
				})
				_ = p.nc.SetDeadline(time.Time{})
				begun := time.Now()
				rest := begin(p)
				why := <-refused
				if took := time.Since(begun); took != time.Minute+1 || why.Details != "request_header_timeout" {
					t.Errorf("refused for %v after %v", why, took)
				}
				if got := p.next(); got != "RST 1 INTERNAL_ERROR" { // for the handler answers nothing
					t.Errorf("%q", got)
				}
				rest()
				time.Sleep(time.Hour)
				p.get(3)
				p.expect("HEADERS 3 200 END")
			})
		})
	}
}

// TestHeadInTime: neither a head that comes in pieces in time nor trailers do harm later.
func TestHeadInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := dialServer(t, &ServerOptions{RequestHeadersTimeout: time.Minute}, &handler{answer: readThenAnswer})
		_ = p.nc.SetDeadline(time.Time{})
		b := p.block(postFields...)
		_ = p.fr.WriteHeaders(xhttp2.HeadersFrameParam{StreamID: 1, BlockFragment: b[:4]})
		time.Sleep(time.Minute - 1)
		_ = p.fr.WriteContinuation(1, true, b[4:])
		time.Sleep(time.Hour)
		b = p.block("a: b")
		_ = p.fr.WriteHeaders(xhttp2.HeadersFrameParam{StreamID: 1, BlockFragment: b[:1], EndStream: true})
		time.Sleep(time.Hour)
		_ = p.fr.WriteContinuation(1, true, b[1:])
		p.expect("HEADERS 1 200 END")
	})
}
