package http1

import (
	"bytes"
	"io"
	"reflect"
	"strings"
	"testing"

	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/httpmsg"
)

// fuzzServer takes what a parser could be lenient about.
var fuzzServer = ServerOptions{AllowAbsoluteURL: true, AcceptHTTP10: true, DefaultHostForHTTP10: "d", AllowCustomMethods: true, EnableTrailers: true}

// FuzzRequest: what is accepted is written so that it is parsed as the same, and no two
// requests are made of one.
func FuzzRequest(f *testing.F) {
	for _, s := range []string{
		get("A: b\r\n"), "GET http://u@b:1?x HTTP/1.1\r\n\r\n", "CONNECT a:1 HTTP/1.1\r\n\r\n", "GET /\r\n",
		"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc", chunked("3;x\r\nabc\r\n0\r\nX: y\r\n\r\n"),
		get("Connection: upgrade, x\r\nUpgrade: foo\r\nX: y\r\nTE: trailers\r\n"), "OPTIONS * HTTP/1.1\r\nHost:\r\n\r\n",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		var p requestHead
		p.o, p.rules = &fuzzServer, fuzzServer.rules()
		n, _, r := endOfBlock(in, 0)
		if n == 0 || r != nil || p.parse(bytes.Clone(in[:n])) != nil {
			return
		}
		first, fields := p.req, p.req.Header.Clone()
		var out recorder
		x := newExchange(&out)
		h, err := x.writeHead(&first, p.body.kind == noBody)
		if err != nil {
			if !strings.HasPrefix(first.Path, "/") {
				return // no target of another server's
			}
			t.Fatalf("%q cannot be written: %v", in[:n], err)
		}
		if (h.kind != p.body.kind || h.length != p.body.length) && p.hop.length != 0 {
			t.Fatalf("%q: body %v, written as %v", in[:n], p.body, h)
		}
		var q requestHead
		q.o, q.rules = &fuzzServer, fuzzServer.rules()
		b := x.out.buf
		if n, _, r := endOfBlock(b, 0); n != len(b) || r != nil {
			t.Fatalf("%q became %q", in, b)
		}
		if r := q.parse(b); r != nil {
			t.Fatalf("%q: %v", b, r)
		}
		if p.hop.lengths == 0 {
			q.req.Header.Del("content-length") // that of a POST without a body
		}
		first.Header, first.Scheme, first.Protocol = nil, "", httpmsg.HTTP11
		got := q.req
		got.Header, got.Scheme = nil, ""
		if !reflect.DeepEqual(first, got) || !sameFields(fields, q.req.Header) {
			t.Fatalf("%q: %+v %v became %+v %v", in, first, fields, got, q.req.Header)
		}
	})
}

func sameFields(a, b httpmsg.Header) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

func newExchange(c filter.Stream) *exchange {
	x := &exchange{c: &Client{o: &ClientOptions{EnableTrailers: true}}}
	x.c.link.init(c, 0)
	x.init(x.c)
	return x
}

// FuzzResponse: like FuzzRequest.
func FuzzResponse(f *testing.F) {
	for _, s := range []string{
		"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc", "HTTP/1.0 404\r\nConnection: keep-alive\r\n\r\n",
		"HTTP/1.1 101 X\r\nUpgrade: foo\r\nConnection: upgrade\r\n\r\n", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX:\ty\r\n\r\n0\r\n\r\n",
		"HTTP/1.1 103 X\r\nLink: x\r\n\r\n",
	} {
		f.Add([]byte(s), true)
	}
	f.Fuzz(func(t *testing.T, in []byte, upgrade bool) {
		o := ClientOptions{EnableTrailers: true}
		p := responseHead{rules: o.rules()}
		a := asked{upgrade: upgrade}
		n, _, r := endOfBlock(in, 0)
		if n == 0 || r != nil || p.parse(bytes.Clone(in[:n]), a) != nil {
			return
		}
		fields := p.resp.Header.Clone()
		s := NewServer(&recorder{}, &ServerOptions{}, &handler{})
		s.answer.prepare(&httpmsg.Request{Method: "GET", Protocol: httpmsg.HTTP11, Upgrade: map[bool]string{true: "foo"}[upgrade]})
		s.head.keep = true
		var err error
		if p.resp.Informational() {
			_, err = s.answer.z.fields(nil, fields, false)
		} else {
			_, err = s.answer.head(&p.resp, p.body.kind == noBody)
		}
		if err != nil {
			t.Fatalf("%q cannot be written: %v", in[:n], err)
		}
		if p.resp.Informational() {
			return
		}
		b := s.link.out.buf
		q := responseHead{rules: o.rules()}
		if n, _, r := endOfBlock(b, 0); n != len(b) || r != nil {
			t.Fatalf("%q became %q", in, b)
		}
		if r := q.parse(b, a); r != nil {
			t.Fatalf("%q: %v", b, r)
		}
		if p.hop.lengths == 0 {
			q.resp.Header.Del("content-length")
		}
		if p.resp.Status == 101 {
			fields.Del("upgrade")
			q.resp.Header.Del("upgrade")
		}
		if q.resp.Status != p.resp.Status || !sameFields(fields, q.resp.Header) {
			t.Fatalf("%q: %v became %v", in, fields, q.resp.Header)
		}
	})
}

// FuzzChunks: a chunked body comes out the same however it is cut into reads, and what
// is written of it is read as the same.
func FuzzChunks(f *testing.F) {
	for _, s := range []string{"3\r\nabc\r\n0\r\n\r\n", "3;x=y\r\nabc\r\nA \r\n0123456789\r\n0\r\nX: y\r\n\r\n", "0\r\n\r\n", "ffffffffffffffff\r\n"} {
		f.Add([]byte(s), uint8(1))
	}
	f.Fuzz(func(t *testing.T, in []byte, step uint8) {
		whole, trailer, err := dechunk(in, len(in)+1)
		parts, trailer2, err2 := dechunk(in, int(step)%16+1)
		if whole != parts || (err == nil) != (err2 == nil) || !sameFields(trailer, trailer2) {
			t.Fatalf("whole: %q %v %v, in parts: %q %v %v", whole, trailer, err, parts, trailer2, err2)
		}
		if err != nil {
			return
		}
		var out recorder
		x := newExchange(&out)
		_ = x.sender.begin(framed{kind: byChunks}, false)
		_ = x.data([]byte(whole), false)
		if err := x.trailer(trailer); err != nil {
			t.Fatal(err)
		}
		again, trailer3, err := dechunk(out.Bytes(), 7)
		if err != nil || again != whole || !sameFields(trailer, trailer3) {
			t.Fatalf("%q %v became %q: %q %v %v", whole, trailer, out.Bytes(), again, trailer3, err)
		}
	})
}

// dechunk reads a chunked body that arrives in pieces of some bytes.
func dechunk(in []byte, step int) (string, httpmsg.Header, error) {
	o := ServerOptions{EnableTrailers: true}
	rules := o.rules()
	src := &recorder{in: in, step: step}
	var i input
	i.init(src, 0)
	defer i.close()
	b := body{in: &i, rules: &rules, failed: func(err error) *httpmsg.ResetError {
		return &httpmsg.ResetError{Reason: httpmsg.ConnectionTermination, Err: err}
	}}
	b.begin(framed{kind: byChunks})
	var out strings.Builder
	for {
		p, err := b.Next()
		out.Write(p)
		if err == io.EOF {
			return out.String(), b.Trailer(), nil
		}
		if err != nil {
			return out.String(), nil, err
		}
	}
}

// recorder is a stream that keeps what is written and gives what it has.
type recorder struct {
	filter.Stream
	bytes.Buffer
	in   []byte
	step int
}

func (r *recorder) Write(p []byte) (int, error) { return r.Buffer.Write(p) }
func (r *recorder) CloseWrite() error           { return nil }
func (r *recorder) Close() error                { return nil }
func (r *recorder) Reset() error                { return nil }

func (r *recorder) Read(p []byte) (int, error) {
	if len(r.in) == 0 {
		return 0, io.EOF
	}
	n := copy(p[:min(len(p), r.step)], r.in)
	r.in = r.in[n:]
	return n, nil
}
