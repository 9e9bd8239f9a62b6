package buffer_test

import (
	"errors"
	"io"
	"testing"

	bufferv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/buffer/v3"

	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/httpmsg"
	"github.com/ginnel/ginnel/internal/ext/buffer"
	"github.com/ginnel/ginnel/internal/ext/teststream"
)

// post serves a request with a body, and returns what the next handler saw of it.
func post(t *testing.T, s *teststream.Stream, body httpmsg.Body) (status int, seen []string, err error) {
	t.Helper()
	f := teststream.Filter(t, teststream.NewEnv(), buffer.Register, &bufferv3.Buffer{}, `{"max_request_bytes": 10}`)
	s.Request.Body = body
	resp, err := s.Serve(f, func(hs *filter.HTTPStream) (*httpmsg.Response, error) {
		for {
			p, err := hs.Request.Body.Next()
			seen = append(seen, string(p))
			if err != nil {
				return teststream.Answer(200, nil)(hs)
			}
		}
	})
	if err != nil {
		return 0, seen, err
	}
	return resp.Status, seen, nil
}

func TestBody(t *testing.T) {
	trailer := httpmsg.Header{{Name: "t", Value: "1"}}
	s := teststream.New("POST", "/")
	status, seen, err := post(t, s, &teststream.Pieces{Data: []string{"abc", "defghij"}, Trailers: trailer})
	if err != nil || status != 200 || len(seen) != 1 || seen[0] != "abcdefghij" {
		t.Errorf("%d %q, %v", status, seen, err)
	}
	if l := s.Request.Header.Get("content-length"); l != "10" || len(s.Request.Body.Trailer()) != 1 {
		t.Errorf("length %q, trailers %v", l, s.Request.Body.Trailer())
	}
}

func TestTooLarge(t *testing.T) {
	for name, s := range map[string]*teststream.Stream{
		"found":     teststream.New("POST", "/"),
		"announced": teststream.New("POST", "/", "content-length: 11"),
	} {
		status, seen, err := post(t, s, &teststream.Pieces{Data: []string{"abc", "defghijk"}})
		if err != nil || status != 413 || len(seen) != 0 || s.Local.Body != "Payload Too Large" {
			t.Errorf("%s: %d, the next handler saw %q, %v", name, status, seen, err)
		}
	}
}

func TestBrokenBody(t *testing.T) {
	_, seen, err := post(t, teststream.New("POST", "/"), &teststream.Pieces{Data: []string{"abc"}, Err: io.ErrUnexpectedEOF})
	if !errors.Is(err, io.ErrUnexpectedEOF) || len(seen) != 0 {
		t.Errorf("%q, %v", seen, err)
	}
}

// TestTunnel: the bytes of a tunnel have no end to wait for.
func TestTunnel(t *testing.T) {
	_, seen, err := post(t, teststream.New("CONNECT", ""), &teststream.Pieces{Data: []string{"first", "second", "third"}})
	if err != nil || len(seen) != 4 {
		t.Errorf("%q, %v", seen, err)
	}
}

func TestRoute(t *testing.T) {
	for text, want := range map[string]int{`{"disabled": true}`: 200, `{"buffer": {"max_request_bytes": 20}}`: 200, `{"buffer": {"max_request_bytes": 5}}`: 413} {
		s := teststream.New("POST", "/")
		s.Routed = &teststream.RouteOf{Configs: []any{
			teststream.Route(t, buffer.Register, &bufferv3.BufferPerRoute{}, `{"buffer": {"max_request_bytes": 1}}`),
			teststream.Route(t, buffer.Register, &bufferv3.BufferPerRoute{}, text),
		}}
		if status, _, err := post(t, s, &teststream.Pieces{Data: []string{"0123456789abcde"}}); err != nil || status != want {
			t.Errorf("%s: %d, %v", text, status, err)
		}
	}
}
