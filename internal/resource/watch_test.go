package resource

import (
	"path/filepath"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/ginnel/ginnel/filter"
)

// What a shared subscription is decoded by is nobody's who has left: else it would keep what
// that one was for as long as anybody follows.
func TestDecodesForWhoIsThere(t *testing.T) {
	w := newWorld(t)
	w.put("f.yaml", routes("1", "r"))
	by := make(chan string, 10)
	ask := func(who string) filter.Subscription {
		return w.Subscribe(&filter.ResourceRequest{
			Kind: filter.RouteResource, Name: "r", Source: filter.ResourceSource{Path: filepath.Join(w.dir, "f.yaml")}, StatPrefix: "s.",
			Decode:  func(proto.Message) (any, error) { by <- who; return who, nil },
			Deliver: func(any) {},
		})
	}
	first := ask("first")
	defer ask("second").Close()
	first.Close()
	w.put("f.yaml", routes("2", "r"))
	if got := <-by + " " + <-by; got != "first second" {
		t.Error(got)
	}
}
