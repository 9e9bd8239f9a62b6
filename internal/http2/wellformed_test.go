package http2

import (
	"errors"
	"testing"

	"github.com/ginnel/ginnel/httpmsg"
)

// TestControlCharacters: a head that no peer would accept is not sent, in either direction,
// and the other streams of the connection go on.
func TestControlCharacters(t *testing.T) {
	bad := httpmsg.Header{{Name: "x-a", Value: "b\r\nx-injected: c"}}
	for name, spoil := range map[string]func(*httpmsg.Request){
		"value": func(r *httpmsg.Request) { r.Header = bad }, "path": func(r *httpmsg.Request) { r.Path = "/a b" },
		"authority": func(r *httpmsg.Request) { r.Authority = "a\x00b" }, "method": func(r *httpmsg.Request) { r.Method = "A\nB" },
		"response": func(r *httpmsg.Request) { r.Path = "/bad" },
	} {
		t.Run(name, func(t *testing.T) {
			answered := make(chan error, 10)
			p := newPair(t, nil, nil, &handler{answer: func(r *httpmsg.Request, w httpmsg.Responder) {
				resp := &httpmsg.Response{Status: 200}
				if r.Path == "/bad" {
					resp.Header = bad
				}
				answered <- w.WriteResponse(resp, true)
			}})
			r := get("/")
			spoil(r)
			_, _, _, err := p.roundTrip(r)
			if err == nil {
				t.Error("it was sent")
			}
			if name == "response" {
				err = <-answered
			}
			if !errors.Is(err, errCharacter) {
				t.Errorf("the sender got %v", err)
			}
			if _, _, _, err := p.roundTrip(get("/")); err != nil {
				t.Errorf("another request: %v", err)
			}
		})
	}
}

func TestTrailersWithControlCharacters(t *testing.T) {
	p := newPair(t, nil, nil, &handler{answer: func(_ *httpmsg.Request, w httpmsg.Responder) {
		_ = w.WriteResponse(&httpmsg.Response{Status: 200}, false)
		_ = w.WriteTrailer(httpmsg.Header{{Name: "x-bad", Value: "a\nb"}, {Name: "x-good", Value: "a"}})
	}})
	_, _, trailer, err := p.roundTrip(get("/"))
	if err != nil || trailer.Has("x-bad") || trailer.Get("x-good") != "a" {
		t.Errorf("got %v, %v", trailer, err)
	}
}

// TestAuthorities: what HTTP/1 would not write is refused, as a client of HTTP/1 is.
func TestAuthorities(t *testing.T) {
	for authority, want := range map[string][]string{
		"a.test:80": {ok}, "[::1]:80": {ok}, "user@a": {bad},
		"a/b": {bad}, "a\u00e9": {bad}, "a?b": {bad}, "a|b": {bad}, "a\"b": {bad},
	} {
		for _, name := range []string{":authority", "host"} {
			p := dialServer(t, &ServerOptions{Options: Options{StreamErrors: true}}, &handler{answer: readThenAnswer})
			fields := append(getFields[:3:3], name+": "+authority)
			p.headers(1, true, fields...)
			p.expect(want...)
		}
	}
}

const bad = "RST 1 PROTOCOL_ERROR"
