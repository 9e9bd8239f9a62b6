package hcm

import (
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/httpmsg"
	"github.com/ginnel/ginnel/internal/inproc/pipe"
)

// watched are connections for which reading or writing means more.
var watched = map[string]func(*filter.Conn){
	"the stream itself": nil,
	"high watermark":    func(c *filter.Conn) { c.Info.Listener = &filter.ListenerInfo{HighWatermarkTimeout: time.Hour} },
	"first bytes":       func(c *filter.Conn) { c.OnData(func(*filter.Conn) error { return nil }) },
}

// tunnelled asks for a tunnel and waits until it has been accepted.
func tunnelled(t *testing.T, c net.Conn) {
	t.Helper()
	_, _ = io.WriteString(c, "CONNECT a:1 HTTP/1.1\r\nhost: a:1\r\n\r\n")
	got := make([]byte, 4<<10)
	n, err := c.Read(got)
	if err != nil || !strings.HasPrefix(string(got[:n]), "HTTP/1.1 200") {
		t.Fatalf("answered %q, %v", got[:n], err)
	}
}

// TestTunnelReset: a tunnel hears at once of a client that has reset it, whatever stands
// between the codec and the connection, also while nobody reads.
func TestTunnelReset(t *testing.T) {
	for name, init := range watched {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				gone := make(chan *httpmsg.ResetError, 1)
				v := serve(t, &Config{Upgrades: []upgrade{{kind: "connect", enabled: true}}, Limits: defaults}, func(s *filter.HTTPStream) (*httpmsg.Response, error) {
					s.Upgraded()
					s.OnReset(func(why *httpmsg.ResetError) { gone <- why })
					s.OnEnd(func() { s.OnReset(nil) })
					return &httpmsg.Response{Status: 200, Body: parkedUntil(gone)}, nil
				})
				client, server := pipe.New(pipe.Options{})
				v.accept(client, server, init)
				tunnelled(t, client)
				_, _ = client.Write([]byte("unread"))
				begun := time.Now()
				_ = client.Reset()
				v.wait.Wait()
				if took := time.Since(begun); took != 0 {
					t.Errorf("the tunnel ended after %v", took)
				}
			})
		})
	}
}

// parkedUntil is a body that goes on until the client is gone.
type parkedUntil chan *httpmsg.ResetError

func (b parkedUntil) Next() ([]byte, error)   { return nil, <-b }
func (b parkedUntil) Ready() bool             { return false }
func (b parkedUntil) Trailer() httpmsg.Header { return nil }

// TestTunnelEnd: a tunnel that this side ends is not closed, which would be a reset, before
// the client's system has all of it.
func TestTunnelEnd(t *testing.T) {
	for name, init := range watched {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				v := serve(t, &Config{Codec: HTTP1, Upgrades: []upgrade{{kind: "connect", enabled: true}}, Limits: defaults}, func(s *filter.HTTPStream) (*httpmsg.Response, error) {
					s.Upgraded()
					s.OnEnd(func() { s.StopRequest(&httpmsg.ResetError{Reason: httpmsg.LocalReset}) })
					body := httpmsg.Bytes("bye")
					return &httpmsg.Response{Status: 200, Body: &body}, nil
				})
				client, server := pipe.New(pipe.Options{})
				far := &slow{Stream: server, left: 10}
				v.accept(client, far, init)
				tunnelled(t, client)
				v.wait.Wait()
				if far.left > 1 {
					t.Errorf("closed while %d bytes were under way", far.left)
				}
			})
		})
	}
}

// A slow socket has bytes under way, one less each time it is asked.
type slow struct {
	filter.Stream
	left int
}

func (s *slow) PeerReset() bool { return false }

func (s *slow) Unsent() (int, error) {
	s.left--
	return s.left, nil
}
