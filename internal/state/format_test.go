package state_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/internal/state"
)

// TestEnvoyVerdicts gives formats that Envoy judged to Compile. Where Envoy's text
// goes on with details of its JSON parser, ours ends.
func TestEnvoyVerdicts(t *testing.T) {
	var verdicts [][2]string
	if err := json.Unmarshal([]byte(recorded(t, "verdicts.json")), &verdicts); err != nil {
		t.Fatal(err)
	}
	for _, v := range verdicts {
		_, err := state.Compile(v[0], state.Options{})
		switch {
		case err == nil && v[1] == "":
		case err == nil:
			t.Errorf("%q is accepted, Envoy says %q", v[0], v[1])
		case v[1] == "" || !strings.HasPrefix(v[1], err.Error()) && !strings.HasPrefix(err.Error(), v[1]):
			t.Errorf("%q: %q, Envoy says %q", v[0], err, v[1])
		}
	}
}

// TestEnvoyObjects makes objects from the texts that Envoy got and prints them.
func TestEnvoyObjects(t *testing.T) {
	var rows [][6]json.RawMessage
	if err := json.Unmarshal([]byte(recorded(t, "objects.json")), &rows); err != nil {
		t.Fatal(err)
	}
	factories := state.NewFactories()
	var forms [4]state.Formatter
	for i, f := range []string{"%FILTER_STATE(k:PLAIN)%", "%FILTER_STATE(k)%", "%FILTER_STATE(k:FIELD:ip)%", "%FILTER_STATE(k:FIELD:port)%"} {
		forms[i], _ = state.CompileJSON(&structpb.Struct{Fields: map[string]*structpb.Value{"v": structpb.NewStringValue(f)}}, state.Options{})
	}
	for _, row := range rows {
		var factory, text string
		if err := errors.Join(json.Unmarshal(row[0], &factory), json.Unmarshal(row[1], &text)); err != nil {
			t.Fatal(err)
		}
		var info filter.Info
		f, err := factories.Lookup("k", factory)
		if err != nil {
			t.Fatal(err)
		}
		if o, ok := f(text); ok {
			info.State.Set(filter.Entry{Name: "k", Object: o})
		}
		for i, form := range forms {
			var got struct{ V any }
			var want any
			line := form.Append(nil, &info, filter.NotSet)
			if err := errors.Join(json.Unmarshal(line, &got), json.Unmarshal(row[2+i], &want)); err != nil {
				t.Fatal(err)
			}
			if got.V != want {
				t.Errorf("%s of %q, form %d: got %v, Envoy prints %v", factory, text, i, got.V, want)
			}
		}
	}
}

func TestLookupFactory(t *testing.T) {
	f := state.NewFactories()
	for _, c := range []struct{ object, factory, want string }{
		{"envoy.string", "", ""},
		{"my.key", "envoy.string", ""},
		{"no.such.key", "", "'no.such.key' does not have an object factory"},
		{"my.key", "no.such.key", "'my.key' does not have an object factory"},
		{"envoy.tcp_proxy.receive_before_connect", "", "'envoy.tcp_proxy.receive_before_connect' does not have an object factory"},
		{"my.key", "envoy.ai.model.request", `object factory "envoy.ai.model.request" is not supported yet`},
	} {
		_, err := f.Lookup(c.object, c.factory)
		if got := message(err); got != c.want {
			t.Errorf("Lookup(%q, %q): %q, want %q", c.object, c.factory, got, c.want)
		}
	}
}

func message(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// TestHashes fixes the hashes: pools and hosts of running proxies depend on them.
func TestHashes(t *testing.T) {
	for _, c := range []struct {
		factory, text string
		want          uint64
	}{
		{"envoy.hashable_string", "", 0xef46db3751d8e999}, // xxHash64 of nothing, seed 0
		{"envoy.hashable_string", "a", 0xd24ec4f1a98c6e5b},
		{"istio.hashable_string", "a", 0xd24ec4f1a98c6e5b},
		{state.ServerNameKey, "a", 0xd24ec4f1a98c6e5b},
	} {
		got, ok := object(t, c.factory, c.text).(filter.Hashable).Hash()
		if !ok || got != c.want {
			t.Errorf("%s of %q: hash %#x, want %#x", c.factory, c.text, got, c.want)
		}
	}
	for _, pair := range [][3]string{
		{state.ProtocolsKey, "ab,c", "a,bc"},
		{state.SubjectAltNamesKey, "a,b", "b,a"},
		{state.DestinationKey, "1.2.3.4:80", "1.2.3.4:81"},
		{"envoy.network.ip", "::1", "::2"},
	} {
		a, _ := object(t, pair[0], pair[1]).(filter.Hashable).Hash()
		b, _ := object(t, pair[0], pair[2]).(filter.Hashable).Hash()
		if a == b {
			t.Errorf("%s: %q and %q share a hash", pair[0], pair[1], pair[2])
		}
	}
	for _, factory := range []string{"envoy.string", state.ClusterKey, state.IdleTimeoutKey} {
		if _, ok := object(t, factory, "1").(filter.Hashable); ok {
			t.Errorf("%s is hashable; Envoy's is not", factory)
		}
	}
}

// TestOwnOperators prints what joins the lines of a chain of hops.
func TestOwnOperators(t *testing.T) {
	inner := innerInfo(t)
	third := &filter.Info{Parent: inner, Depth: 2, ChainID: inner.ChainID, Listener: &filter.ListenerInfo{Name: "third"}}
	for _, c := range []struct {
		info *filter.Info
		want string
	}{
		{inner.Parent, "outer 0 outer 000000000000c4a1"},
		{inner, "outer>inner 1 inner 000000000000c4a1"},
		{third, "outer>inner>third 2 third 000000000000c4a1"},
	} {
		got := line(t, "%HOP_PATH% %HOPS% %LISTENER_NAME% %CHAIN_ID%", c.info, filter.NotSet)
		if got != c.want {
			t.Errorf("got %q, want %q", got, c.want)
		}
	}
	if got := line(t, "%HOP_PATH%", third, filter.NotSet); got != strings.Join(third.Path(), ">") {
		t.Errorf("HOP_PATH is %q, Info.Path %q", got, third.Path())
	}
}

func line(t testing.TB, format string, info *filter.Info, typ filter.AccessLogType) string {
	t.Helper()
	f, err := state.Compile(format, state.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return string(f.Append(nil, info, typ))
}

// TestIDs: the id of a stream is the same in all lines of its connection and in no
// other; a unique id never comes twice.
func TestIDs(t *testing.T) {
	outer, inner := outerInfo(t), innerInfo(t)
	const format = "%STREAM_ID%"
	a, b := line(t, format, outer, filter.TCPConnectionStart), line(t, format, outer, filter.TCPConnectionEnd)
	if a != b || a == line(t, format, inner, filter.NotSet) {
		t.Errorf("stream ids %q, %q of one connection, %q of another", a, b, line(t, format, inner, filter.NotSet))
	}
	u := line(t, "%UNIQUE_ID%", outer, filter.NotSet)
	if u == line(t, "%UNIQUE_ID%", outer, filter.NotSet) {
		t.Errorf("unique id %q came twice", u)
	}
	for _, id := range []string{a, u} {
		if len(id) != 36 || id[14] != '4' || strings.IndexByte("89ab", id[19]) < 0 {
			t.Errorf("%q is no version 4 UUID", id)
		}
	}
}

// TestLiveConnection prints a connection that goes on.
func TestLiveConnection(t *testing.T) {
	info := &filter.Info{Start: time.Now().Add(-time.Hour), Local: ip("127.0.0.1:1"), Remote: filter.UnixAddr{Path: "@abstract"}}
	got := line(t, "%DOWNSTREAM_REMOTE_ADDRESS%,%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%,%DOWNSTREAM_REMOTE_PORT%,"+
		"%COMMON_DURATION(DS_CX_BEG:DS_CX_END)%,%UPSTREAM_HOST%,%UPSTREAM_CLUSTER%,%ACCESS_LOG_TYPE%,"+
		"%UPSTREAM_CONNECTION_POOL_READY_DURATION%", info, filter.TCPPeriodic)
	if want := "@abstract,@abstract,,-,-,-,TcpPeriodic,-"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	d, err := time.ParseDuration(line(t, "%DURATION%ms", info, filter.TCPPeriodic))
	if err != nil || d < time.Hour {
		t.Errorf("duration of a connection that started an hour ago: %v (%v)", d, err)
	}
}

// TestText covers what the recorded lines do not have.
func TestText(t *testing.T) {
	info := outerInfo(t)
	x := info.More()
	x.Details, x.Termination = "a b\tc", "rbac denied"
	x.Inspected.ServerName = "Bad_Name/é.example"
	x.UpTried = []*filter.Host{{Addr: ip("[::1]:80")}, {Addr: filter.InternalAddr{Listener: "l"}, Hostname: "name:1"}}
	for _, c := range [][2]string{
		{"%RESPONSE_CODE_DETAILS%", "a_b_c"},
		{"%RESPONSE_CODE_DETAILS(ALLOW_WHITESPACES)%", "a b\tc"},
		{"%CONNECTION_TERMINATION_DETAILS%", "rbac denied"},
		{"%REQUESTED_SERVER_NAME%", "invalid:Bad_Name___.example"},
		{"%UPSTREAM_HOSTS_ATTEMPTED%", "[::1]:80,envoy://l/"},
		{"%UPSTREAM_HOSTS_ATTEMPTED_WITHOUT_PORT%", "::1,envoy://l/"},
		{"%UPSTREAM_HOST_NAMES_ATTEMPTED_WITHOUT_PORT%", "[::1],name"},
		{"%FILTER_STATE(k.str:PLAIN):0%", ""},
		{"%%%%", "%%"},
		{"", ""},
	} {
		if got := line(t, c[0], info, filter.NotSet); got != c[1] {
			t.Errorf("%s prints %q, want %q", c[0], got, c[1])
		}
	}
}

// TestEscapes compares with what the real Envoy printed of the same bytes.
func TestEscapes(t *testing.T) {
	info := &filter.Info{}
	info.State.Set(filter.Entry{Name: "s", Object: state.Text("a<b>&'\"\\/\x01\x7f\u2028\u00e9\n\t\U0001F600")})
	info.State.Set(filter.Entry{Name: "bin", Object: state.Text("\x80\x81a\xff")})
	for _, c := range [][2]string{
		{"%FILTER_STATE(s)%", `"a\u003cb\u003e&'\"\\/\u0001\u007f\u2028é\n\t` + "\U0001F600\""},
		{"%FILTER_STATE(bin)%", `"  a "`},
		{"%FILTER_STATE(bin:PLAIN)%", "\x80\x81a\xff"},
	} {
		if got := line(t, c[0], info, filter.NotSet); got != c[1] {
			t.Errorf("%s prints %q, Envoy %q", c[0], got, c[1])
		}
	}
	for _, c := range [][2]string{
		{"%FILTER_STATE(s)%", `{"v":"a<b>&'\"\\/\u0001` + "\x7f\u2028" + `é\n\t` + "\U0001F600\"}\n"},
		{"%FILTER_STATE(s:PLAIN)%", `{"v":"a<b>&'\"\\/\u0001` + "\x7f\u2028" + `é\n\t` + "\U0001F600\"}\n"},
		{"%FILTER_STATE(bin:PLAIN)%", `{"v":"\u0080\u0081a\u00ff"}` + "\n"},
		{"%FILTER_STATE(bin)%", `{"v":"  a "}` + "\n"},
	} {
		if got := jsonLine(t, c[0], info); got != c[1] {
			t.Errorf("%s prints %q, Envoy %q", c[0], got, c[1])
		}
	}
}

func jsonLine(t testing.TB, format string, info *filter.Info) string {
	t.Helper()
	f, err := state.CompileJSON(&structpb.Struct{Fields: map[string]*structpb.Value{"v": structpb.NewStringValue(format)}}, state.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return string(f.Append(nil, info, filter.NotSet))
}

// TestNumbers: Envoy prints doubles as std::to_chars does.
func TestNumbers(t *testing.T) {
	const in = `{"v":[1e15,1e16,1e18,9007199254740993,1e19,1.8e19,1e21,-1e15,-5,-9.3e18,123456.789,1e-5,0.0001,0.00001234,
		123456789.123,1.5e300,0.1,0.3333333333333333,100.5,1e5,10000,-0.0,9223372036854775808,18446744073709551616,5e-324]}`
	const want = `{"v":[1e+15,1e+16,1e+18,9007199254740992,1e+19,1.8e+19,1e+21,-1e+15,-5,-9.3e+18,123456.789,1e-05,1e-04,1.234e-05,` +
		`123456789.123,1.5e+300,0.1,0.3333333333333333,100.5,1e+05,10000,-0,9223372036854775808,18446744073709551616,5e-324]}` + "\n"
	var s structpb.Struct
	if err := protojson.Unmarshal([]byte(in), &s); err != nil {
		t.Fatal(err)
	}
	f, err := state.CompileJSON(&s, state.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if got := string(f.Append(nil, &filter.Info{}, filter.NotSet)); got != want {
		t.Errorf("got  %swant %s", got, want)
	}
}

func TestJSONErrorHasPath(t *testing.T) {
	s, err := structpb.NewStruct(map[string]any{"a": map[string]any{"b": []any{"ok", "%NOPE%"}}})
	if err != nil {
		t.Fatal(err)
	}
	_, err = state.CompileJSON(s, state.Options{})
	var at *state.FieldError
	if !errors.As(err, &at) || at.Path != "a.b[1]" {
		t.Errorf("error %v has no path a.b[1]", err)
	}
}

// TestLineAllocates nothing for plain operators.
func TestLineAllocates(t *testing.T) {
	f, err := state.Compile(state.DefaultFormat+"%HOP_PATH% %CHAIN_ID% %DOWNSTREAM_LOCAL_ADDRESS% %UPSTREAM_LOCAL_ADDRESS% "+
		"%FILTER_STATE(k.str:PLAIN)% %DYNAMIC_METADATA(ns:s)% %UPSTREAM_CLUSTER% %CONNECTION_ID% %START_TIME(%s.%3f)%", state.Options{})
	if err != nil {
		t.Fatal(err)
	}
	info, buf := innerInfo(t), make([]byte, 0, 1024)
	if n := testing.AllocsPerRun(100, func() { buf = f.Append(buf[:0], info, filter.TCPConnectionEnd) }); n > 0 {
		t.Errorf("a line of plain operators allocates %v times", n)
	}
}

func BenchmarkDefaultLine(b *testing.B) {
	f, err := state.Compile(state.DefaultFormat, state.Options{})
	if err != nil {
		b.Fatal(err)
	}
	info, buf := innerInfo(b), make([]byte, 0, 1024)
	b.ReportAllocs()
	for b.Loop() {
		buf = f.Append(buf[:0], info, filter.TCPConnectionEnd)
	}
}

// FuzzCompile: whatever is accepted prints, and prints JSON as valid JSON.
func FuzzCompile(f *testing.F) {
	var verdicts [][2]string
	if err := json.Unmarshal([]byte(recorded(f, "verdicts.json")), &verdicts); err != nil {
		f.Fatal(err)
	}
	for _, v := range verdicts {
		f.Add(v[0])
	}
	infos := []*filter.Info{{}, innerInfo(f), refusedInfo(f), request()}
	f.Fuzz(func(t *testing.T, format string) {
		text, err := state.Compile(format, state.Options{})
		object, jsonErr := state.CompileJSON(&structpb.Struct{Fields: map[string]*structpb.Value{
			format: structpb.NewStringValue(format),
		}}, state.Options{OmitEmpty: len(format)%2 == 0})
		if (err == nil) != (jsonErr == nil) && strings.Contains(format, "%") {
			t.Fatalf("as text %v, as JSON %v", err, jsonErr)
		}
		if err != nil {
			return
		}
		for _, info := range infos {
			text.Append(nil, info, filter.TCPConnectionEnd)
			if out := object.Append(nil, info, filter.TCPConnectionEnd); !json.Valid(out) {
				t.Fatalf("not JSON: %q", out)
			}
		}
	})
}
