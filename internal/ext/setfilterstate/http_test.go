package setfilterstate_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	httpv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/set_filter_state/v3"

	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/httpmsg"
	"github.com/ginnel/ginnel/internal/ext/setfilterstate"
	"github.com/ginnel/ginnel/internal/ext/teststream"
)

// TestRequests: objects are the request's own, those of the connection show through, and
// the levels of a route have their say after the filter.
func TestRequests(t *testing.T) {
	f := teststream.Filter(t, teststream.NewEnv(), setfilterstate.Register, &httpv3.Config{}, `{"on_request_headers": [
		{"object_key": "who", "factory_key": "envoy.string", "shared_with_upstream": "ONCE", "format_string": {"text_format": "%REQ(who)% %FILTER_STATE(conn:PLAIN)%"}},
		{"object_key": "level", "factory_key": "envoy.string", "format_string": {"text_format": "filter"}}
	]}`)
	level := func(v string) any {
		return teststream.Route(t, setfilterstate.Register, &httpv3.Config{}, `{"on_request_headers": [
			{"object_key": "level", "factory_key": "envoy.string", "format_string": {"text_format": "`+v+` over %FILTER_STATE(level:PLAIN)%"}}]}`)
	}
	var conn filter.State
	conn.Set(filter.Entry{Name: "conn", Object: text("of all")})
	s := teststream.New("GET", "/", "who: alice")
	s.Info.State = *conn.Child()
	s.Routed = &teststream.RouteOf{Configs: []any{level("host"), level("route")}}
	resp, err := s.Serve(f, teststream.Answer(200, nil))
	if err != nil || resp.Status != 200 {
		t.Fatal(resp, err)
	}
	want := []string{"alice of all", "route over host over filter", "of all"}
	got := []string{plain(s.Info, "who"), plain(s.Info, "level"), plain(s.Info, "conn")}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	if n := len(conn.Entries()); n != 1 {
		t.Errorf("the connection has %d objects now", n)
	}
	if s.Cleared != 0 {
		t.Error("the route was looked up anew")
	}
}

func TestClearRouteCache(t *testing.T) {
	f := teststream.Filter(t, teststream.NewEnv(), setfilterstate.Register, &httpv3.Config{}, `{"clear_route_cache": true}`)
	s := teststream.New("GET", "/")
	_, err := s.Serve(f, func(*filter.HTTPStream) (*httpmsg.Response, error) {
		if s.Cleared != 1 {
			t.Errorf("the route was cleared %d times before the next filter", s.Cleared)
		}
		return &httpmsg.Response{Status: 200}, nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

type text string

func (t text) Serialize() (string, bool) { return string(t), true }
