package pump

import (
	"strings"
	"testing"

	"github.com/ginnel/ginnel/filter"
)

func TestHalfCloseFromClientFirst(t *testing.T) {
	combinations(t, func(t *testing.T, down, up string) {
		r := start(t, down, up, nil)
		write(t, r.client, "question")
		r.client.CloseWrite()
		expect(t, r.host, "question", "EOF")
		late := strings.Repeat("late ", 100_000)
		go func() {
			r.host.Write([]byte(late))
			r.host.CloseWrite()
		}()
		expect(t, r.client, late, "EOF")
		r.expectEnd(filter.UpstreamClosed)
		if up, down := r.hop.moved(); up != 8 || down != 500_000 {
			t.Errorf("moved %d, %d", up, down)
		}
	})
}

func TestHalfCloseFromHostFirst(t *testing.T) {
	combinations(t, func(t *testing.T, down, up string) {
		r := start(t, down, up, nil)
		write(t, r.host, "banner")
		r.host.CloseWrite()
		expect(t, r.client, "banner", "EOF")
		late := strings.Repeat("late ", 100_000)
		go func() {
			r.client.Write([]byte(late))
			r.client.CloseWrite()
		}()
		expect(t, r.host, late, "EOF")
		r.expectEnd(filter.DownstreamClosed)
	})
}

func TestResets(t *testing.T) {
	combinations(t, func(t *testing.T, down, up string) {
		t.Run("client", func(t *testing.T) {
			r := start(t, down, up, nil)
			write(t, r.client, "hello")
			get(t, r.host, "hello")
			r.client.Reset()
			expect(t, r.host, "", "reset")
			r.expectEnd(filter.DownstreamReset)
		})
		t.Run("host", func(t *testing.T) {
			r := start(t, down, up, nil)
			write(t, r.client, "hello")
			get(t, r.host, "hello")
			r.host.Reset()
			expect(t, r.client, "", "reset")
			r.expectEnd(filter.UpstreamReset)
		})
		t.Run("host after the client's half close", func(t *testing.T) {
			r := start(t, down, up, nil)
			r.client.CloseWrite()
			expect(t, r.host, "", "EOF")
			r.host.Reset()
			expect(t, r.client, "", "reset")
			r.expectEnd(filter.UpstreamReset)
		})
		t.Run("client after the host's half close", func(t *testing.T) {
			r := start(t, down, up, nil)
			r.host.CloseWrite()
			expect(t, r.client, "", "EOF")
			r.client.Reset()
			expect(t, r.host, "", "reset")
			r.expectEnd(filter.DownstreamReset)
		})
	})
}

// A socket's reset after its FIN is a close, as in Envoy; a pipe knows better.
func TestResetAfterOwnHalfClose(t *testing.T) {
	combinations(t, func(t *testing.T, down, up string) {
		r := start(t, down, up, nil)
		r.client.CloseWrite()
		expect(t, r.host, "", "EOF")
		r.client.Reset()
		want := filter.DownstreamClosed
		if down == "pipe" {
			want = filter.DownstreamReset
		}
		r.expectEnd(want)
	})
}

// frank are kinds of streams whose peers can be seen to close both ways at once, each
// with a kind of the other side.
var frank = [][2]string{
	{"pipe", "pipe"}, {"pipe", "socket"}, {"unix", "pipe"}, {"unix", "socket"}, {"unix", "unix"},
	{"looped unix", looped}, {"looped unix", "looped unix"},
}

func TestFullClose(t *testing.T) {
	for _, k := range frank {
		t.Run(k[0]+" client, "+k[1], func(t *testing.T) {
			r := start(t, k[0], k[1], nil)
			write(t, r.host, "banner")
			get(t, r.client, "banner")
			write(t, r.client, "last words")
			r.client.Close()
			expect(t, r.host, "last words", "EOF")
			r.expectEnd(filter.DownstreamClosed)
		})
		t.Run(k[0]+" host, "+k[1], func(t *testing.T) {
			r := start(t, k[1], k[0], nil)
			write(t, r.host, "last words")
			r.host.Close()
			expect(t, r.client, "last words", "EOF")
			r.expectEnd(filter.UpstreamClosed)
		})
	}
}

// What a closed peer never read does not matter.
func TestFullCloseWithUnreadBytes(t *testing.T) {
	for _, k := range frank {
		t.Run(k[0]+"-"+k[1], func(t *testing.T) {
			r := start(t, k[0], k[1], nil)
			write(t, r.host, "unread")
			r.awaitMoved(0, 6)
			write(t, r.client, "last words")
			r.client.Close()
			expect(t, r.host, "last words", "EOF")
			r.expectEnd(filter.DownstreamClosed)
		})
	}
}

// What a side sent together with its end is whole, however slow the other one is.
func TestBytesBeforeTheEnd(t *testing.T) {
	big := strings.Repeat("0123456789abcdef", 64<<10) // 1 MiB: more than fits anywhere at once
	combinations(t, func(t *testing.T, down, up string) {
		for _, side := range []string{"client", "host"} {
			for _, end := range []string{"CloseWrite", "Close", "Reset"} {
				t.Run(side+" "+end, func(t *testing.T) {
					r := start(t, down, up, nil)
					from, to, kind := r.client, r.host, down
					cause := [...]filter.Cause{filter.DownstreamClosed, filter.DownstreamReset}
					if side == "host" {
						from, to, kind = r.host, r.client, up
						cause = [...]filter.Cause{filter.UpstreamClosed, filter.UpstreamReset}
					}
					wrote := make(chan error, 1)
					go func() {
						_, err := from.Write([]byte(big))
						if end == "Reset" && kind != "pipe" {
							awaitAcked(t, from)
						}
						wrote <- err
						switch end {
						case "CloseWrite":
							from.CloseWrite()
						case "Close":
							from.Close()
						case "Reset":
							from.Reset()
						}
					}()
					want, verdict := "EOF", cause[0]
					if end == "Reset" {
						want, verdict = "reset", cause[1]
					}
					expect(t, to, big, want)
					if err := <-wrote; err != nil {
						t.Error(err)
					}
					to.Close()
					e := r.hop.wait()
					if e.Cause != verdict && end == "Reset" {
						t.Errorf("cause %d, want %d", e.Cause, verdict)
					}
				})
			}
		}
	})
}
