package state_test

import (
	"net/netip"
	"testing"
	"time"

	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/httpmsg"
	"github.com/ginnel/ginnel/internal/state"
)

// request is the Info of a request that went through.
func request() *filter.Info {
	start := time.Date(2026, 11, 21, 0, 24, 49, 179e6, time.UTC)
	return &filter.Info{
		Start: start, Duration: 12 * time.Millisecond, Received: 5, Sent: 3,
		Up: filter.Upstream{Host: &filter.Host{Addr: filter.IPAddr{AddrPort: netip.MustParseAddrPort("127.0.0.1:8080")}}},
		Extra: &filter.Extra{HTTP: &filter.HTTPInfo{
			Conn: &filter.Info{Start: start.Add(-time.Second)}, Protocol: httpmsg.HTTP11, Code: 200, StreamID: "rid",
			Request: &httpmsg.Request{
				Method: "POST", Scheme: "http", Authority: "h", Path: "/a%20b?q=1%20x&q=2&z=%26%41",
				Header: httpmsg.Header{{Name: "user-agent", Value: "ua"}, {Name: "x-empty"}, {Name: "x-request-id", Value: "rid"}},
			},
			Response: &httpmsg.Response{Status: 200, Header: httpmsg.Header{{Name: "x-r", Value: "v"}, {Name: "x-r", Value: "w"}}},
			Trailer:  httpmsg.Header{{Name: "grpc-status", Value: "5"}}, LocalReplyBody: "gone",
			RequestDone: time.Millisecond, UpstreamFirstByte: 4 * time.Millisecond, LastSent: 10 * time.Millisecond,
		}},
	}
}

func TestRequest(t *testing.T) {
	for format, want := range map[string]string{
		"%REQ(:METHOD)% %REQ(HOST)% %REQ(X-NONE?USER-AGENT)% %REQ(:PATH):3%":                "POST h ua /a%",
		"[%REQ(X-EMPTY)%] [%REQ(X-EMPTY?USER-AGENT)%] %REQ(UPGRADE)%":                       "[] [] -",
		"%RESP(:STATUS)% %RESP(X-R)% %TRAILER(GRPC-STATUS)% %TRAILER(X)%":                   "200 v 5 -",
		"%PATH(NQ)% %PATH(WQ:ORIG)% %QUERY_PARAM(q)% %QUERY_PARAM(z):1%":                    "/a%20b - 1 x &",
		"%QUERY_PARAMS(ORIG):5% %QUERY_PARAMS(DECODED)%":                                    "q=1%2 q=1%20x&q=2&z=&A",
		"%REQUESTED_SERVER_NAME% %REQUESTED_SERVER_NAME(HOST_FIRST)%":                       "- h",
		"%REQUEST_HEADERS_BYTES% %RESPONSE_HEADERS_BYTES% %RESPONSE_TRAILERS_BYTES%":        "99 18 12",
		"%REQUEST_DURATION% %RESPONSE_DURATION% %RESPONSE_TX_DURATION%":                     "1 4 6",
		"%REQUEST_TX_DURATION% %COMMON_DURATION(DS_CX_BEG:DS_RX_END)% %ROUNDTRIP_DURATION%": "- 1001 -",
		"%GRPC_STATUS% [%LOCAL_REPLY_BODY%] %STREAM_ID%":                                    "- [] rid",
	} {
		f, err := state.Compile(format, state.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if got := string(f.Append(nil, request(), filter.DownstreamEnd)); got != want {
			t.Errorf("%s\nprints %q, not %q", format, got, want)
		}
	}
}

// TestLocalReplyBody: what makes replies knows their body.
func TestLocalReplyBody(t *testing.T) {
	f, err := state.Compile("%LOCAL_REPLY_BODY%", state.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if got := string(f.Append(nil, request(), filter.NotSet)); got != "gone" {
		t.Errorf("%q", got)
	}
}

// TestRequestLine: the default line, which takes no memory but its buffer.
func TestRequestLine(t *testing.T) {
	f, err := state.Compile(state.DefaultFormat, state.Options{})
	if err != nil {
		t.Fatal(err)
	}
	info := request()
	buf := f.Append(nil, info, filter.DownstreamEnd)
	const want = `[2026-11-21T00:24:49.179Z] "POST /a%20b?q=1%20x&q=2&z=%26%41 HTTP/1.1" 200 - 5 3 12 - "-" "ua" "rid" "h" "127.0.0.1:8080"` + "\n"
	if string(buf) != want {
		t.Errorf("%s\nis not\n%s", buf, want)
	}
	if n := testing.AllocsPerRun(100, func() { buf = f.Append(buf[:0], info, filter.DownstreamEnd) }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}
