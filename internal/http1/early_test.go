package http1

import (
	"io"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/ginnel/ginnel/httpmsg"
	"github.com/ginnel/ginnel/internal/inproc/pipe"
)

// TestEarlyResponse: a response need not wait for the rest of its request, which somebody
// waits for meanwhile; the connection ends with it.
func TestEarlyResponse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, s := pipe.New(pipe.Options{})
		why := &httpmsg.ResetError{Reason: httpmsg.LocalReset}
		h := &handler{answer: func(r *httpmsg.Request, w httpmsg.Responder) {
			read := make(chan error)
			go func() {
				for {
					if _, err := r.Body.Next(); err != nil {
						read <- err
						return
					}
				}
			}()
			synctest.Wait() // until it waits for more than has come
			if err := w.WriteResponse(&httpmsg.Response{Status: 200}, true); err != nil {
				t.Error(err)
			}
			w.StopRequest(why)
			if err := <-read; err != why {
				t.Errorf("the reader got %v", err)
			}
		}}
		_, wait := serve(s, nil, h)
		if _, err := io.WriteString(c, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc"); err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(c)
		if err != nil || !strings.Contains(string(got), "connection: close\r\n") {
			t.Errorf("got %q, %v", got, err)
		}
		c.Close()
		_ = wait()
	})
}
