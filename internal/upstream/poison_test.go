package upstream

import (
	"bufio"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/httpmsg"
	"github.com/ginnel/ginnel/internal/inproc"
	"github.com/ginnel/ginnel/internal/inproc/pipe"
)

// An origin is a server of HTTP/1 that says what a test wants.
type scriptedOrigin struct {
	t     *testing.T
	first string // the answer to the first request of all; "": the connection closes

	mu       sync.Mutex
	conns    int
	requests []string // by their targets, with the number of the connection
	wg       sync.WaitGroup
}

func (o *scriptedOrigin) Connect(*inproc.Dial) (filter.Stream, error) {
	near, far := pipe.New(pipe.Options{})
	o.mu.Lock()
	o.conns++
	o.mu.Unlock()
	o.wg.Go(func() { o.serve(far) })
	return near, nil
}

func (o *scriptedOrigin) serve(s filter.Stream) {
	defer s.Close()
	in := bufio.NewReader(s)
	for {
		head := ""
		for !strings.HasSuffix(head, "\r\n\r\n") {
			line, err := in.ReadString('\n')
			if err != nil {
				return
			}
			head += line
		}
		o.mu.Lock()
		o.requests = append(o.requests, strings.Fields(head)[1])
		first := len(o.requests) == 1
		o.mu.Unlock()
		answer := "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
		if first {
			if answer = o.first; answer == "" {
				return
			}
		}
		if _, err := io.WriteString(s, answer); err != nil {
			return
		}
	}
}

// TestPoison: no connection serves another request after one that left it in doubt.
func TestPoison(t *testing.T) {
	get := &httpmsg.Request{Method: "GET", Scheme: "http", Authority: "a", Path: "/first"}
	post := &httpmsg.Request{Method: "POST", Scheme: "http", Authority: "a", Path: "/first", Header: httpmsg.Header{{Name: "content-length", Value: "10"}}}
	// whole sends a request and reads the whole response.
	whole := func(r *httpmsg.Request) func(x httpmsg.Exchange) {
		return func(x httpmsg.Exchange) {
			if x.WriteRequest(r, r.Body == nil && r != post && !r.Tunnel()) != nil || x.Flush() != nil {
				return
			}
			readAll(x)
		}
	}
	const ok = "HTTP/1.1 200 OK\r\n"
	for name, c := range map[string]struct {
		act    func(x httpmsg.Exchange)
		answer string
		reused bool
	}{
		"plain":                     {whole(get), ok + "content-length: 2\r\n\r\nhi", true},
		"chunked":                   {whole(get), ok + "transfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n", true},
		"no content":                {whole(get), "HTTP/1.1 204 No Content\r\n\r\n", true},
		"informational before":      {whole(get), "HTTP/1.1 103 Early Hints\r\n\r\n" + ok + "content-length: 2\r\n\r\nhi", true},
		"HEAD":                      {whole(&httpmsg.Request{Method: "HEAD", Authority: "a", Path: "/first"}), ok + "content-length: 9\r\n\r\n", true},
		"nothing was sent":          {func(httpmsg.Exchange) {}, ok + "content-length: 2\r\n\r\nok", true},
		"connection: close":         {whole(get), ok + "connection: close\r\ncontent-length: 2\r\n\r\nhi", false},
		"HTTP/1.0":                  {whole(get), "HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nhi", false},
		"until the end":             {whole(get), ok + "\r\n", false},
		"bytes behind the response": {whole(get), ok + "content-length: 2\r\n\r\nhi" + ok + "content-length: 6\r\n\r\nstolen", false},
		"a response behind 204":     {whole(get), "HTTP/1.1 204 No Content\r\n\r\n" + ok + "content-length: 6\r\n\r\nstolen", false},
		"a body to HEAD":            {whole(&httpmsg.Request{Method: "HEAD", Authority: "a", Path: "/first"}), ok + "content-length: 6\r\n\r\nstolen", false},
		"both framings":             {whole(get), ok + "content-length: 2\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n", false},
		"two lengths":               {whole(get), ok + "content-length: 2\r\ncontent-length: 3\r\n\r\nhi", false},
		"a bad head":                {whole(get), ok + "a b: c\r\n\r\n", false},
		"a bad chunk":               {whole(get), ok + "transfer-encoding: chunked\r\n\r\nzz\r\n", false},
		"no HTTP":                   {whole(get), "SSH-2.0-x\r\n\r\n", false},
		"closed":                    {whole(get), "", false},
		"response not read":         {func(x httpmsg.Exchange) { x.WriteRequest(get, true); x.Flush() }, ok + "content-length: 2\r\n\r\nhi", false},
		"reset": {func(x httpmsg.Exchange) {
			x.WriteRequest(get, true)
			x.Flush()
			x.Reset(&httpmsg.ResetError{Reason: httpmsg.LocalReset})
		}, ok + "content-length: 2\r\n\r\nhi", false},
		"answer before the body":        {whole(post), ok + "content-length: 2\r\n\r\nhi", false},
		"tunnel":                        {whole(&httpmsg.Request{Method: "CONNECT", Authority: "first:443"}), ok + "\r\n", false},
		"tunnel refused, with a body":   {whole(&httpmsg.Request{Method: "CONNECT", Authority: "first:443"}), "HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\n\r\nno", false},
		"upgrade":                       {whole(&httpmsg.Request{Method: "GET", Authority: "a", Path: "/first", Upgrade: "websocket"}), "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n", false},
		"upgrade refused":               {whole(&httpmsg.Request{Method: "GET", Authority: "a", Path: "/first", Upgrade: "websocket"}), ok + "content-length: 2\r\n\r\nhi", false},
		"upgrade that nobody asked for": {whole(get), "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\n", false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := &scriptedOrigin{t: t, first: c.answer}
				s, counted := run(t, Options{Network: o}, httpCluster())
				a := newRequester()
				x, err := s.get(t, "c").(filter.HTTPCluster).Open(&a.r)
				if err != nil {
					t.Fatal(err)
				}
				done := make(chan struct{})
				go func() {
					c.act(x)
					close(done)
				}()
				select {
				case <-done:
				case <-time.After(time.Second): // a tunnel, or a body until the end
					x.Reset(&httpmsg.ResetError{Reason: httpmsg.LocalReset})
					<-done
				}
				x.Release()
				synctest.Wait()

				b := newRequester()
				x, err = s.get(t, "c").(filter.HTTPCluster).Open(&b.r)
				if err != nil {
					t.Fatal(err)
				}
				next := *get
				next.Path = "/next"
				x.WriteRequest(&next, true)
				x.Flush()
				if body, status := readAll(x); status != 200 || body != "ok" {
					t.Errorf("the next request is answered %d %q", status, body)
				}
				x.Release()
				if reused := b.info.Up.ID == a.info.Up.ID; reused != c.reused {
					t.Errorf("used again: %v", reused)
				}
				s.Close()
				o.wg.Wait()
				if got := counted.of("c"); got["upstream_rq_active"] != 0 || got["upstream_cx_active"] != 0 {
					t.Error(got)
				}
			})
		})
	}
}

// readAll reads a response to its end.
func readAll(x httpmsg.Exchange) (body string, status int) {
	for {
		r, err := x.ReadResponse()
		if err != nil {
			return "", 0
		}
		if r.Informational() {
			continue
		}
		for r.Body != nil {
			p, err := r.Body.Next()
			body += string(p)
			if err != nil {
				break
			}
		}
		return body, r.Status
	}
}
