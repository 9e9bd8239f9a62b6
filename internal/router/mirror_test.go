package router

import (
	"io"
	"testing"

	"github.com/ginnel/ginnel/httpmsg"
)

// The lines of trailers are used again by the codec when the request is over; a mirror may
// send its copy later.
func TestFeedKeepsTrailers(t *testing.T) {
	lines := httpmsg.Header{{Name: "x-sum", Value: "1"}}
	f := (&tee{}).feed(0, nil)
	f.add([]byte("all"), trailed{lines}, io.EOF)
	lines[0] = httpmsg.Field{Name: "x-other", Value: "of another request"}
	if p, err := f.Next(); string(p) != "all" || err != io.EOF {
		t.Fatalf("got %q, %v", p, err)
	}
	if got := f.Trailer(); got.Get("x-sum") != "1" || got.Has("x-other") {
		t.Errorf("got %v", got)
	}
}

// trailed is a body of which only the trailers are left.
type trailed struct{ lines httpmsg.Header }

func (trailed) Next() ([]byte, error)     { return nil, io.EOF }
func (trailed) Ready() bool               { return true }
func (b trailed) Trailer() httpmsg.Header { return b.lines }
