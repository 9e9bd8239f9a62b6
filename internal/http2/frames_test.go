package http2

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	xhttp2 "golang.org/x/net/http2"

	"github.com/ginnel/ginnel/httpmsg"
)

// readThenAnswer reads the request to its end, and answers 200 without a body. What asks
// for /held is not answered.
func readThenAnswer(r *httpmsg.Request, w httpmsg.Responder) {
	if r.Path == "/held" {
		gone := make(chan struct{})
		w.OnReset(func(*httpmsg.ResetError) { close(gone) })
		<-gone
		return
	}
	if _, _, err := readAll(r.Body); err == nil {
		_ = w.WriteResponse(&httpmsg.Response{Status: 200}, true)
	}
}

const ok = "HEADERS 1 200 END"

var held = []string{":method: GET", ":scheme: http", ":path: /held"}

// goAway is how a connection ends for a mistake.
func goAwayFor(last, code string) []string { return []string{"GOAWAY " + last + " " + code, "EOF"} }

// manyResets are of the first n streams.
func manyResets(n int) (all []string) {
	for i := range n {
		all = append(all, fmt.Sprintf("RST %d PROTOCOL_ERROR", 2*i+1))
	}
	return all
}

// TestFrames sends sequences of frames to a server.
func TestFrames(t *testing.T) {
	protocol0, protocol1 := goAwayFor("0", "PROTOCOL_ERROR"), goAwayFor("1", "PROTOCOL_ERROR")
	size0 := goAwayFor("0", "FRAME_SIZE_ERROR")
	calm0, calm1 := goAwayFor("0", "ENHANCE_YOUR_CALM"), goAwayFor("1", "ENHANCE_YOUR_CALM")
	bad := func(fields ...string) func(*peer) {
		return func(p *peer) { p.headers(1, true, fields...) }
	}
	header := func(more ...string) func(*peer) { return bad(with(getFields, more...)...) }
	raw := func(kind xhttp2.FrameType, flags xhttp2.Flags, id uint32, payload string) func(*peer) {
		return func(p *peer) { _ = p.fr.WriteRawFrame(kind, flags, id, []byte(payload)) }
	}
	for _, c := range []struct {
		name string
		send func(p *peer)
		want []string
	}{
		{"get", header(), []string{ok}},
		{"post", func(p *peer) { p.post(1); _ = p.fr.WriteData(1, true, []byte("x")) }, []string{ok}},
		{"padded", func(p *peer) {
			p.post(1)
			_ = p.fr.WriteDataPadded(1, true, []byte("x"), make([]byte, 200))
		}, []string{ok}},
		{"trailers", func(p *peer) {
			p.post(1)
			_ = p.fr.WriteData(1, false, []byte("x"))
			p.headers(1, true, "x-t: 1")
		}, []string{ok}},
		{"continuation", func(p *peer) {
			block := p.block(getFields...)
			_ = p.fr.WriteHeaders(xhttp2.HeadersFrameParam{StreamID: 1, BlockFragment: block[:1], EndStream: true})
			for i := 1; i < len(block); i++ { // every representation is cut somewhere
				_ = p.fr.WriteContinuation(1, i == len(block)-1, block[i:i+1])
			}
		}, []string{ok}},
		{"unknown frame", func(p *peer) { raw(0xee, 0xff, 7, "what")(p); p.get(1) }, []string{ok}},
		{"asterisk", bad(":method: OPTIONS", ":scheme: http", ":path: *", ":authority: a"), []string{ok}},
		{"any method", bad(":method: FOO", ":scheme: http", ":path: /", ":authority: a"), []string{ok}},
		{"host alone", bad(":method: GET", ":scheme: http", ":path: /", "host: a"), []string{ok}},
		{"te trailers", header("te: trailers"), []string{ok}},
		{"right length", func(p *peer) {
			p.post(1, "content-length: 2")
			_ = p.fr.WriteData(1, false, []byte("x"))
			_ = p.fr.WriteData(1, true, []byte("x"))
		}, []string{ok}},
		{"CONNECT", func(p *peer) {
			p.headers(1, false, ":method: CONNECT", ":authority: a:1", "content-length: 7")
			_ = p.fr.WriteData(1, true, []byte("x"))
		}, []string{ok}},

		// Messages.
		{"upper case", header("X-a: 1"), protocol1},
		{"empty name", func(p *peer) {
			block := append(p.block(getFields...), 0, 0, 1, 'x')
			_ = p.fr.WriteHeaders(xhttp2.HeadersFrameParam{StreamID: 1, BlockFragment: block, EndHeaders: true, EndStream: true})
		}, protocol1},
		{"blank in a name", header("x a: 1"), protocol1},
		{"NUL in a value", header("a: \x00"), protocol1},
		{"LF in a value", header("a: x\ny: z"), protocol1},
		{"blank before a value", header("a:  x"), protocol1},
		{"connection", header("connection: close"), protocol1},
		{"upgrade", header("upgrade: x"), protocol1},
		{"keep-alive", header("keep-alive: x"), protocol1},
		{"proxy-connection", header("proxy-connection: x"), protocol1},
		{"transfer-encoding", header("transfer-encoding: chunked"), protocol1},
		{"te", header("te: gzip"), protocol1},
		{"no method", bad(":scheme: http", ":path: /"), protocol1},
		{"no scheme", bad(":method: GET", ":path: /"), protocol1},
		{"no path", bad(":method: GET", ":scheme: http"), protocol1},
		{"empty path", bad(":method: GET", ":scheme: http", ":path: "), protocol1},
		{"path without slash", bad(":method: GET", ":scheme: http", ":path: x"), protocol1},
		{"asterisk for GET", bad(":method: GET", ":scheme: http", ":path: *"), protocol1},
		{"blank in path", bad(":method: GET", ":scheme: http", ":path: /a b"), protocol1},
		{"bad method", bad(":method: G T", ":scheme: http", ":path: /"), protocol1},
		{"bad scheme", bad(":method: GET", ":scheme: h ttp", ":path: /"), protocol1},
		{"pseudo twice", header(":path: /"), protocol1},
		{"pseudo behind", bad(with(getFields[:3], "a: b", ":authority: x")...), protocol1},
		{"pseudo unknown", header(":x: 1"), protocol1},
		{"status in a request", header(":status: 200"), protocol1},
		{"two hosts", header("host: a", "host: b"), protocol1},
		{"two lengths", header("content-length: 0", "content-length: 0"), protocol1},
		{"signed length", header("content-length: +0"), protocol1},
		{"length, no content", header("content-length: 1"), protocol1},
		{"too much content", func(p *peer) {
			p.post(1, "content-length: 1")
			_ = p.fr.WriteData(1, false, []byte("xx"))
		}, []string{"RST 1 PROTOCOL_ERROR"}},
		{"too little content", func(p *peer) {
			p.post(1, "content-length: 2")
			_ = p.fr.WriteData(1, true, []byte("x"))
		}, []string{"RST 1 PROTOCOL_ERROR"}},
		{"too little before trailers", func(p *peer) {
			p.post(1, "content-length: 2")
			p.headers(1, true, "x-t: 1")
		}, []string{"RST 1 PROTOCOL_ERROR"}},
		{"trailers without end", func(p *peer) { p.post(1); p.headers(1, false, "x-t: 1") }, []string{"RST 1 PROTOCOL_ERROR"}},
		{"pseudo in trailers", func(p *peer) { p.post(1); p.headers(1, true, ":path: /") }, protocol1},
		{"CONNECT with path", bad(":method: CONNECT", ":authority: a:1", ":path: /"), protocol1},
		{"CONNECT with scheme", bad(":method: CONNECT", ":authority: a:1", ":scheme: http"), protocol1},
		{"CONNECT without authority", bad(":method: CONNECT"), protocol1},
		{"CONNECT with empty authority", bad(":method: CONNECT", ":authority: "), protocol1},
		{"protocol not allowed", bad(":method: CONNECT", ":authority: a", ":scheme: http", ":path: /", ":protocol: websocket"), protocol1},
		{"many headers", header(strings.Split(strings.Repeat("a: b|", 96)+"a: b", "|")...), []string{"RST 1 INTERNAL_ERROR"}},
		{"many crumbs", header(strings.Split(strings.Repeat("cookie: b|", 119)+"cookie: b", "|")...), []string{"RST 1 INTERNAL_ERROR"}},
		{"long headers", header("a: "+strings.Repeat("x", 30<<10), "b: "+strings.Repeat("x", 30<<10)), []string{"RST 1 INTERNAL_ERROR"}},

		// Frames.
		{"even stream", func(p *peer) { p.headers(2, true, getFields...) }, protocol0},
		{"stream 0", func(p *peer) { p.headers(0, true, getFields...) }, protocol0},
		{"lower stream", func(p *peer) { p.post(5); p.post(3) }, goAwayFor("5", "PROTOCOL_ERROR")},
		{"DATA on stream 0", raw(xhttp2.FrameData, 0, 0, "x"), protocol0},
		{"DATA on an idle stream", raw(xhttp2.FrameData, 0, 1, "x"), protocol0},
		{"padding too long", func(p *peer) { p.post(1); raw(xhttp2.FrameData, xhttp2.FlagDataPadded, 1, "\x05abc")(p) }, protocol1},
		{"DATA behind the end", func(p *peer) {
			p.headers(1, true, held...)
			_ = p.fr.WriteData(1, false, []byte("x"))
		}, []string{"RST 1 STREAM_CLOSED"}},
		{"HEADERS behind the end", func(p *peer) { p.headers(1, true, held...); p.headers(1, true, "x-t: 1") }, []string{"RST 1 STREAM_CLOSED"}},
		{"too long", raw(xhttp2.FrameData, 0, 1, strings.Repeat("x", 1<<14+1)), size0},
		{"SETTINGS on a stream", raw(xhttp2.FrameSettings, 0, 1, ""), protocol0},
		{"SETTINGS of 5", raw(xhttp2.FrameSettings, 0, 0, "12345"), size0},
		{"SETTINGS ack with more", raw(xhttp2.FrameSettings, xhttp2.FlagSettingsAck, 0, "123456"), size0},
		{"ENABLE_PUSH 2", func(p *peer) { _ = p.fr.WriteSettings(xhttp2.Setting{ID: xhttp2.SettingEnablePush, Val: 2}) }, protocol0},
		{"window 2^31", func(p *peer) {
			_ = p.fr.WriteSettings(xhttp2.Setting{ID: xhttp2.SettingInitialWindowSize, Val: 1 << 31})
		}, goAwayFor("0", "FLOW_CONTROL_ERROR")},
		{"frame size 0", func(p *peer) { _ = p.fr.WriteSettings(xhttp2.Setting{ID: xhttp2.SettingMaxFrameSize, Val: 0}) }, protocol0},
		{"PING on a stream", raw(xhttp2.FramePing, 0, 1, "12345678"), protocol0},
		{"PING of 7", raw(xhttp2.FramePing, 0, 0, "1234567"), size0},
		{"PING", raw(xhttp2.FramePing, 0, 0, "12345678"), []string{"PING 31"}},
		{"GOAWAY", func(p *peer) { _ = p.fr.WriteGoAway(0, 0, nil); p.get(1) }, []string{ok}},
		{"GOAWAY on a stream", raw(xhttp2.FrameGoAway, 0, 1, "12345678"), protocol0},
		{"RST on an idle stream", raw(xhttp2.FrameRSTStream, 0, 1, "1234"), protocol0},
		{"RST of 3", func(p *peer) { p.post(1); raw(xhttp2.FrameRSTStream, 0, 1, "123")(p) }, goAwayFor("1", "FRAME_SIZE_ERROR")},
		{"PRIORITY on itself", func(p *peer) { p.post(1); raw(xhttp2.FramePriority, 0, 1, "\x00\x00\x00\x01\x00")(p) }, []string{"RST 1 PROTOCOL_ERROR"}},
		{"PRIORITY of 4", func(p *peer) { p.post(1); raw(xhttp2.FramePriority, 0, 1, "1234")(p) }, []string{"RST 1 FRAME_SIZE_ERROR"}},
		{"PRIORITY on stream 0", raw(xhttp2.FramePriority, 0, 0, "12345"), protocol0},
		{"PUSH_PROMISE", func(p *peer) { p.post(1); raw(xhttp2.FramePushPromise, 4, 1, "\x00\x00\x00\x02")(p) }, protocol1},
		{"CONTINUATION alone", raw(xhttp2.FrameContinuation, 4, 1, "x"), protocol0},
		{"frame inside a block", func(p *peer) {
			_ = p.fr.WriteHeaders(xhttp2.HeadersFrameParam{StreamID: 1, BlockFragment: p.block(getFields...)})
			_ = p.fr.WritePing(false, [8]byte{})
		}, protocol1},
		{"window 0", func(p *peer) { p.post(1); _ = p.fr.WriteWindowUpdate(1, 0) }, []string{"RST 1 PROTOCOL_ERROR"}},
		{"connection's window 0", func(p *peer) { _ = p.fr.WriteWindowUpdate(0, 0) }, protocol0},
		{"window too large", func(p *peer) { p.post(1); _ = p.fr.WriteWindowUpdate(1, 1<<31-1) }, []string{"RST 1 FLOW_CONTROL_ERROR"}},
		{"connection's window too large", func(p *peer) { _ = p.fr.WriteWindowUpdate(0, 1<<31-1) }, goAwayFor("0", "FLOW_CONTROL_ERROR")},
		{"settings overflow a window", func(p *peer) {
			p.post(1)
			_ = p.fr.WriteWindowUpdate(1, 1<<30)
			_ = p.fr.WriteSettings(xhttp2.Setting{ID: xhttp2.SettingInitialWindowSize, Val: 1<<31 - 1})
		}, goAwayFor("1", "FLOW_CONTROL_ERROR")},
		{"HEADERS behind a reset", func(p *peer) { p.post(1); _ = p.fr.WriteRSTStream(1, 8); p.get(1) }, goAwayFor("1", "STREAM_CLOSED")},
		{"DATA behind a reset", func(p *peer) { p.post(1); _ = p.fr.WriteRSTStream(1, 8); _ = p.fr.WriteData(1, true, []byte("x")) }, []string{"RST 1 STREAM_CLOSED"}},
		{"DATA after our reset", func(p *peer) {
			p.post(1)
			_ = p.fr.WriteWindowUpdate(1, 0)
			_ = p.fr.WriteData(1, true, []byte("x"))
			p.headers(1, true, "x-t: 1")
		}, []string{"RST 1 PROTOCOL_ERROR"}},

		// HPACK.
		{"bad index", raw(xhttp2.FrameHeaders, 5, 1, "\xff\x7f"), goAwayFor("1", "COMPRESSION_ERROR")},
		{"bad Huffman code", raw(xhttp2.FrameHeaders, 5, 1, "\x00\x84\xff\xff\xff\xff\x00"), goAwayFor("1", "COMPRESSION_ERROR")},
		{"cut block", raw(xhttp2.FrameHeaders, 5, 1, "\x00\x05ab"), goAwayFor("1", "COMPRESSION_ERROR")},
		{"table too large", raw(xhttp2.FrameHeaders, 5, 1, "\x3f\xff\xff\x01"), goAwayFor("1", "COMPRESSION_ERROR")},
		{"table size behind a field", raw(xhttp2.FrameHeaders, 5, 1, "\x82\x20"), goAwayFor("1", "COMPRESSION_ERROR")},
		{"field over 64 KiB", func(p *peer) {
			_ = p.fr.WriteHeaders(xhttp2.HeadersFrameParam{StreamID: 1, BlockFragment: []byte("\x00\x01a\x7f\x82\xff\x03")})
		}, goAwayFor("1", "COMPRESSION_ERROR")},

		// Floods.
		{"one empty DATA", func(p *peer) { p.post(1); raw(xhttp2.FrameData, 0, 1, "")(p); raw(xhttp2.FrameData, 1, 1, "")(p) }, []string{ok}},
		{"two empty DATA", func(p *peer) { p.post(1); raw(xhttp2.FrameData, 0, 1, "")(p); raw(xhttp2.FrameData, 0, 1, "")(p) }, calm1},
		{"empty CONTINUATION", func(p *peer) {
			_ = p.fr.WriteHeaders(xhttp2.HeadersFrameParam{StreamID: 1, BlockFragment: p.block(getFields...)})
			_ = p.fr.WriteContinuation(1, false, nil)
			_ = p.fr.WriteContinuation(1, false, nil)
		}, calm1},
		{"CONTINUATION without end", func(p *peer) {
			_ = p.fr.WriteHeaders(xhttp2.HeadersFrameParam{StreamID: 1, BlockFragment: p.block(getFields...)})
			for range 20 {
				_ = p.fr.WriteContinuation(1, false, bytes.Repeat([]byte{0x82}, 1<<14))
			}
		}, calm1},
		{"PRIORITY", func(p *peer) {
			for range 101 {
				raw(xhttp2.FramePriority, 0, 1, "12345")(p)
			}
		}, calm0},
		{"WINDOW_UPDATE", func(p *peer) {
			for range 6 {
				_ = p.fr.WriteWindowUpdate(0, 1)
			}
		}, calm0},
		{"index bomb", func(p *peer) {
			block := p.block(with(getFields, "a: "+strings.Repeat("x", 3000))...)
			block = append(block, bytes.Repeat([]byte{0xbe}, 12000)...) // the newest entry
			_ = p.fr.WriteHeaders(xhttp2.HeadersFrameParam{StreamID: 1, BlockFragment: block, EndHeaders: true, EndStream: true})
		}, []string{"RST 1 INTERNAL_ERROR"}},
		{"resets of ours", func(p *peer) {
			for id := uint32(1); id <= 21; id += 2 {
				p.post(id)
				_ = p.fr.WriteWindowUpdate(id, 0)
			}
		}, append(manyResets(11), goAwayFor("21", "ENHANCE_YOUR_CALM")...)},
		{"resets", func(p *peer) {
			for id := uint32(1); id <= 21; id += 2 {
				p.post(id)
				_ = p.fr.WriteRSTStream(id, 8)
			}
		}, goAwayFor("21", "ENHANCE_YOUR_CALM")},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := dialServer(t, &ServerOptions{ResetBurst: 10, ResetRate: 1}, &handler{answer: readThenAnswer})
			c.send(p)
			p.expect(c.want...)
		})
	}
}
