package http2

import (
	"bytes"
	"testing"

	xhttp2 "golang.org/x/net/http2"

	"github.com/ginnel/ginnel/httpmsg"
)

// TestEarlyTable: a client that has not seen SETTINGS yet fills a table of the initial
// size, whatever they allow.
func TestEarlyTable(t *testing.T) {
	p := dialServer(t, &ServerOptions{Options: Options{TableSize: -1}}, &handler{answer: readThenAnswer})
	p.get(1, "x-a: value")
	p.expect("HEADERS 1 200 END")
	p.get(3, "x-a: value") // by its index
	p.expect("HEADERS 3 200 END")
}

// TestCustomSettings: what is said to the peer is what it may do.
func TestCustomSettings(t *testing.T) {
	o := &ServerOptions{Options: Options{Settings: []Setting{
		{uint16(xhttp2.SettingMaxConcurrentStreams), 1}, {uint16(xhttp2.SettingInitialWindowSize), 100 << 10}, {0x9, 1},
	}, StreamWindow: 70_000}}
	hold := make(chan struct{})
	p := dialServer(t, o, &handler{answer: func(*httpmsg.Request, httpmsg.Responder) { <-hold }})
	defer close(hold)
	f, err := p.fr.ReadFrame()
	if err != nil {
		t.Fatal(err)
	}
	said := map[xhttp2.SettingID][]uint32{}
	_ = f.(*xhttp2.SettingsFrame).ForeachSetting(func(s xhttp2.Setting) error {
		said[s.ID] = append(said[s.ID], s.Val)
		return nil
	})
	for id, want := range map[xhttp2.SettingID]uint32{xhttp2.SettingMaxConcurrentStreams: 1, xhttp2.SettingInitialWindowSize: 100 << 10, 0x9: 1} {
		if got := said[id]; len(got) != 1 || got[0] != want {
			t.Errorf("%v is said to be %v", id, got)
		}
	}
	p.post(1)
	for range 10 {
		_ = p.fr.WriteData(1, false, bytes.Repeat([]byte("x"), 10<<10))
	}
	p.get(3)
	p.expect("RST 3 REFUSED_STREAM")
}
