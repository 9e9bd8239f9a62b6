package fault_test

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	faultv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/fault/v3"

	"github.com/ginnel/ginnel/extension"
	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/httpmsg"
	"github.com/ginnel/ginnel/internal/ext/fault"
	"github.com/ginnel/ginnel/internal/ext/teststream"
	"github.com/ginnel/ginnel/internal/testcompile"
)

// runtime has numbers by keys.
type runtime map[string]uint64

func (r runtime) Enabled(string, uint32) bool { return false }

func (r runtime) Uint(key string, def uint64) uint64 {
	if v, ok := r[key]; ok {
		return v
	}
	return def
}

func filterOf(t *testing.T, env *teststream.Env, text string) filter.HTTPFilter {
	t.Helper()
	return teststream.Filter(t, env, fault.Register, &faultv3.HTTPFault{}, text)
}

// TestDelay: a delay takes its time and counts as active until the request has ended.
func TestDelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		env := teststream.NewEnv()
		f := filterOf(t, env, `{"delay": {"fixed_delay": "3s", "percentage": {"numerator": 100}}}`)
		s := teststream.New("GET", "/")
		begun := time.Now()
		resp, err := s.Serve(f, func(hs *filter.HTTPStream) (*httpmsg.Response, error) {
			if s.Hooked() {
				t.Error("the filter still waits for the client to go away")
			}
			return teststream.Answer(200, nil)(hs)
		})
		if err != nil || resp.Status != 200 {
			t.Fatal(resp, err)
		}
		if d := time.Since(begun); d != 3*time.Second {
			t.Errorf("it took %v", d)
		}
		if n := env.Stats.Get("http.test.fault.active_faults"); n != 1 || s.Info.Flags != filter.DelayInjected {
			t.Errorf("%d active, flags %v", n, s.Info.Flags)
		}
		s.End()
		if n := env.Stats.Get("http.test.fault.active_faults"); n != 0 {
			t.Errorf("%d active after the end", n)
		}
	})
}

// TestDelayEndsWithClient: who is gone is not delayed any longer, and not served.
func TestDelayEndsWithClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := filterOf(t, teststream.NewEnv(), `{"delay": {"fixed_delay": "3600s", "percentage": {"numerator": 100}}}`)
		s := teststream.New("GET", "/")
		done := make(chan error)
		begun := time.Now()
		go func() {
			_, err := s.Serve(f, func(*filter.HTTPStream) (*httpmsg.Response, error) {
				t.Error("it was served")
				return nil, nil
			})
			done <- err
		}()
		synctest.Wait()
		s.Reset()
		var why *httpmsg.ResetError
		if err := <-done; !errors.As(err, &why) || time.Since(begun) != 0 {
			t.Errorf("%v after %v", err, time.Since(begun))
		}
		if s.Hooked() {
			t.Error("the filter still waits")
		}
	})
}

// TestMostActiveFaults: no more requests suffer at a time than may.
func TestMostActiveFaults(t *testing.T) {
	env := teststream.NewEnv()
	f := filterOf(t, env, `{"max_active_faults": 1, "abort": {"http_status": 500, "percentage": {"numerator": 100}}}`)
	serve := func() (*teststream.Stream, int) {
		s := teststream.New("GET", "/")
		resp, err := s.Serve(f, teststream.Answer(200, nil))
		if err != nil {
			t.Fatal(err)
		}
		return s, resp.Status
	}
	first, status := serve()
	if status != 500 {
		t.Errorf("the first: %d", status)
	}
	if _, status := serve(); status != 200 || env.Stats.Get("http.test.fault.faults_overflow") != 1 {
		t.Errorf("the second: %d, overflow %d", status, env.Stats.Get("http.test.fault.faults_overflow"))
	}
	first.End()
	if _, status := serve(); status != 500 {
		t.Errorf("after the first has ended: %d", status)
	}
}

// TestRuntime: keys of the runtime change shares, times and answers; those of a
// downstream cluster come first.
func TestRuntime(t *testing.T) {
	config := `{"abort": {"http_status": 500, "percentage": {"numerator": 0}}}`
	for _, c := range []struct {
		values runtime
		peer   string
		want   int
	}{
		{nil, "", 200},
		{runtime{"fault.http.abort.abort_percent": 100}, "", 500},
		{runtime{"fault.http.abort.abort_percent": 100, "fault.http.abort.http_status": 418}, "", 418},
		{runtime{"fault.http.abort.abort_percent": 100, "fault.http.them.abort.abort_percent": 0}, "them", 200},
		{runtime{"fault.http.them.abort.abort_percent": 100, "fault.http.them.abort.http_status": 404}, "them", 404},
		{runtime{"fault.http.them.abort.abort_percent": 100}, "us", 200},
		{runtime{"fault.http.abort.abort_percent": 100, "fault.http.max_active_faults": 0}, "", 200},
	} {
		env := teststream.NewEnv()
		env.Runtime = c.values
		s := teststream.New("GET", "/", "x-envoy-downstream-service-cluster: "+c.peer)
		resp, err := s.Serve(filterOf(t, env, config), teststream.Answer(200, nil))
		if err != nil || resp.Status != c.want {
			t.Errorf("%v for %q: %v, %v; want %d", c.values, c.peer, resp, err, c.want)
		}
	}
}

// TestRate: a response comes with a second's worth at once, then as fast as it may, and
// whole.
func TestRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := filterOf(t, teststream.NewEnv(), `{"response_rate_limit": {"fixed_limit": {"limit_kbps": 20}, "percentage": {"numerator": 100}}}`)
		text := strings.Repeat("0123456789abcdef", 4*1280) // 80 KiB
		s := teststream.New("GET", "/")
		trailer := httpmsg.Header{{Name: "t", Value: "1"}}
		resp, err := s.Serve(f, teststream.Answer(200, &teststream.Pieces{Data: []string{text[:100], text[100:]}, Trailers: trailer}))
		if err != nil {
			t.Fatal(err)
		}
		begun, n := time.Now(), 0
		for err == nil {
			var p []byte
			p, err = resp.Body.Next()
			if string(p) != text[n:n+len(p)] {
				t.Fatalf("other bytes at %d", n)
			}
			n += len(p)
			if most := 20<<10 + 20<<10*time.Since(begun)/time.Second + 1024; n > int(most) {
				t.Fatalf("%d bytes after %v", n, time.Since(begun))
			}
		}
		if n != len(text) || len(resp.Body.Trailer()) != 1 {
			t.Errorf("%d bytes, trailers %v", n, resp.Body.Trailer())
		}
		if d := time.Since(begun); d < 2900*time.Millisecond || d > 3200*time.Millisecond {
			t.Errorf("80 KiB at 20 KiB/s took %v after the first second's worth", d)
		}
	})
}

// TestErrors: at their place.
func TestErrors(t *testing.T) {
	for text, path := range map[string]string{
		`{"abort": {}}`:                                "x.abort",
		`{"abort": {"http_status": 199}}`:              "x.abort.http_status",
		`{"abort": {"http_status": 600}}`:              "x.abort.http_status",
		`{"delay": {}}`:                                "x.delay",
		`{"delay": {"fixed_delay": "0s"}}`:             "x.delay.fixed_delay",
		`{"response_rate_limit": {}}`:                  "x.response_rate_limit",
		`{"response_rate_limit": {"fixed_limit": {}}}`: "x.response_rate_limit.fixed_limit.limit_kbps",
	} {
		_, issues := testcompile.JSON(t, fault.Register, extension.HTTPFilter, &faultv3.HTTPFault{}, text)
		if len(issues) != 1 || issues[0].Path != path {
			t.Errorf("%s: %v", text, issues)
		}
	}
}
