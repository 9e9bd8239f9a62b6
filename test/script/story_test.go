package script

import (
	"errors"
	"net"
	"strings"
	"testing"
)

// pair returns an actor and the far end of its connection, both TCP.
func pair(t *testing.T) (*actor, *net.TCPConn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	c, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	far, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close(); far.Close() })
	return &actor{conn: c}, far.(*net.TCPConn)
}

func TestEndsAreToldApart(t *testing.T) {
	ends := map[string]func(*net.TCPConn){
		"end":   func(c *net.TCPConn) { c.CloseWrite() },
		"reset": func(c *net.TCPConn) { c.SetLinger(0); c.Close() },
		"quiet": func(*net.TCPConn) {},
	}
	for is, do := range ends {
		for _, want := range []string{"quiet", "end", "reset"} {
			a, far := pair(t)
			do(far)
			err := a.do(step{"expect", []string{want}})
			if (err == nil) != (is == want) {
				t.Errorf("the peer's %s as \"expect %s\": %v", is, want, err)
			}
			if is == "quiet" {
				break // the others would wait for the whole patience
			}
		}
	}
}

func TestExpectRefusesStrayBytes(t *testing.T) {
	a, far := pair(t)
	far.Write([]byte("stray"))
	far.Close()
	if err := a.do(step{"expect", []string{"end"}}); err == nil || !strings.Contains(err.Error(), `"stray"`) {
		t.Errorf("expect end with bytes before it: %v", err)
	}
}

func TestPatternShowsLossAndRepeats(t *testing.T) {
	for name, damage := range map[string]func([]byte) []byte{
		"lost":     func(b []byte) []byte { return b[1:] },
		"repeated": func(b []byte) []byte { return append(b[:1:1], b...) },
		"changed":  func(b []byte) []byte { b[5] ^= 1; return b },
	} {
		a, far := pair(t)
		b := append([]byte(nil), patternAt(0, 100)...)
		far.Write(damage(b))
		far.Close()
		if err := a.do(step{"expect", []string{"100", "bytes"}}); err == nil {
			t.Errorf("a byte was %s, and nobody noticed", name)
		}
	}
}

func TestParseStory(t *testing.T) {
	story, err := parseStory(strings.Fields("connect out then send 10 bytes then fin"))
	if err != nil || len(story) != 3 || story[1].String() != "send 10 bytes" {
		t.Fatalf("%v, %v", story, err)
	}
	for _, bad := range []string{"", "then", "send x then", "then send x", "send x then then fin"} {
		if story, err := parseStory(strings.Fields(bad)); err == nil {
			t.Errorf("%q is no story, but became %v", bad, story)
		}
	}
}

func TestBackendReportsBrokenStory(t *testing.T) {
	story, err := parseStory(strings.Fields("expect ping then send pong"))
	if err != nil {
		t.Fatal(err)
	}
	b, err := startBackend("up", "127.0.0.1:0", story)
	if err != nil {
		t.Fatal(err)
	}
	c, err := net.Dial("tcp", b.ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.Write([]byte("pung"))
	err = poll(stepTimeout, func() error {
		if err := b.got([]string{"conns", "1"}); err == nil {
			return errors.New("no error yet")
		} else if !strings.Contains(err.Error(), "pung") {
			return err
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	if err := b.stop(); err == nil {
		t.Error("the broken story is forgotten at the end")
	}
}

func TestResetIsRemembered(t *testing.T) {
	a, far := pair(t)
	far.SetLinger(0)
	far.Close()
	for _, do := range []step{{"drain", nil}, {"expect", []string{"reset"}}, {"expect", []string{"reset"}}} {
		if err := a.do(do); err != nil {
			t.Fatal(err)
		}
	}
	a.read(make([]byte, 1)) // the kernel says EOF now
	if _, _, end := a.record.see(); end != "reset" {
		t.Errorf("a reset has become %q", end)
	}
}
