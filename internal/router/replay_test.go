package router

import (
	"io"
	"testing"
)

// A try that has missed a piece which was not kept fails: it does not send a body with a
// hole. One that has taken them all goes on.
func TestReplayMissed(t *testing.T) {
	r := newReplay(newBody(true, "one", "two", "three"), 3, func() {})
	first, late := &cursor{replay: r}, &cursor{replay: r}
	for _, want := range []string{"one", "two"} {
		if p, err := first.Next(); string(p) != want || err != nil {
			t.Fatalf("got %q, %v", p, err)
		}
	}
	if p, err := late.Next(); string(p) != "one" || err != nil {
		t.Fatalf("the late one got %q, %v", p, err)
	}
	if p, err := first.Next(); string(p) != "three" || err != nil {
		t.Fatalf("got %q, %v", p, err)
	}
	if p, err := late.Next(); err == nil || err == io.EOF {
		t.Errorf("the late one got %q, %v", p, err)
	}
	if p, err := first.Next(); len(p) > 0 || err != io.EOF {
		t.Errorf("at last %q, %v", p, err)
	}
}
