package http2

import (
	"bytes"
	"net"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"testing"

	"github.com/ginnel/ginnel/httpmsg"
)

// TestH2spec runs h2spec v2.2.1 (github.com/summerwind/h2spec), whose path H2SPEC names.
func TestH2spec(t *testing.T) {
	h2spec := os.Getenv("H2SPEC")
	if h2spec == "" {
		t.Skip("H2SPEC is not set")
	}
	for _, streamErrors := range []bool{false, true} {
		o := &ServerOptions{Options: Options{StreamErrors: streamErrors}}
		port := serveTCP(t, o, &handler{answer: func(r *httpmsg.Request, w httpmsg.Responder) {
			if _, _, err := readAll(r.Body); err != nil {
				return
			}
			_ = w.WriteResponse(&httpmsg.Response{Status: 200}, false)
			_ = w.WriteData([]byte("hello"), true)
		}})
		out, err := exec.Command(h2spec, "-h", "127.0.0.1", "-p", strconv.Itoa(port), "-o", "1").CombinedOutput()
		if err != nil || !bytes.Contains(out, []byte("145 passed, 0 skipped, 0 failed")) {
			t.Errorf("StreamErrors %v: %v\n%s", streamErrors, err, out)
		}
	}
}

// serveTCP serves every connection to a port of its own.
func serveTCP(t testing.TB, o *ServerOptions, h httpmsg.ServerHandler) (port int) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			serving.Go(func() { _ = NewServer(c.(*net.TCPConn), o, h).Serve() })
		}
	})
	t.Cleanup(func() {
		_ = ln.Close()
		serving.Wait()
	})
	return ln.Addr().(*net.TCPAddr).Port
}
