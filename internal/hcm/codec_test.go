package hcm

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/httpmsg"
	"github.com/ginnel/ginnel/internal/inproc/pipe"
)

// serving is a connection manager with the real codecs. Its connections are pipes.
type serving struct {
	sv    *service
	stats scope
	log   *entries
	wait  sync.WaitGroup

	mu    sync.Mutex
	conns []net.Conn
}

// end ends all connections and waits for them.
func (v *serving) end() {
	v.mu.Lock()
	for _, c := range v.conns {
		c.Close()
	}
	v.mu.Unlock()
	v.wait.Wait()
}

func serve(t *testing.T, c *Config, h filter.HTTPHandlerFunc) *serving {
	t.Helper()
	c.StatPrefix, c.Routes, c.Response.serverName = "test", table(t, anyRoute), "envoy"
	c.Filters = []httpFilter{{name: "last", terminal: terminal(h)}}
	v := &serving{stats: newScope(), log: &entries{}}
	c.Logs.factories = []filter.AccessLogFactory{v.log}
	x, err := c.NewTerminal(&filter.Env{Stats: v.stats, Log: slog.New(slog.DiscardHandler), Hangups: hangups{}})
	if err != nil {
		t.Fatal(err)
	}
	v.sv = x.(*service)
	t.Cleanup(v.end)
	return v
}

// hangups are those of pipes.
type hangups struct{}

func (hangups) Watch(s filter.Stream, f func()) (stop func()) {
	if s, ok := s.(interface{ OnHangup(func()) func() }); ok {
		return s.OnHangup(f)
	}
	return func() {}
}

func (v *serving) dial() net.Conn {
	client, server := pipe.New(pipe.Options{})
	v.accept(client, server, nil)
	return client
}

// accept serves the other end of a connection; init is called before.
func (v *serving) accept(client net.Conn, server filter.Stream, init func(*filter.Conn)) {
	v.mu.Lock()
	v.conns = append(v.conns, client)
	v.mu.Unlock()
	c := &filter.Conn{Stream: server}
	h := &host{ended: make(chan struct{})}
	c.Init(h)
	c.Info.Start = time.Now()
	c.Info.Remote, c.Info.Local = addr("192.0.2.1:4321"), addr("192.0.2.2:80")
	if init != nil {
		init(c)
	}
	v.wait.Go(func() {
		v.sv.ServeConn(c)
		<-h.ended
	})
}

// clients are clients of both protocols, by name.
func (v *serving) clients() map[string]*http.Client {
	dial := func(context.Context, string, string) (net.Conn, error) { return v.dial(), nil }
	h1 := &http.Transport{DialContext: dial}
	h2 := &http2.Transport{AllowHTTP: true, DialTLSContext: func(ctx context.Context, n, a string, _ *tls.Config) (net.Conn, error) { return dial(ctx, n, a) }}
	return map[string]*http.Client{"HTTP/1": {Transport: h1}, "HTTP/2": {Transport: h2}}
}

// echo sends the request's body back, and its path as a header.
func echo(s *filter.HTTPStream) (*httpmsg.Response, error) {
	resp := s.NewResponse()
	resp.Status = 200
	resp.Header.Add("x-path", s.Request.Path)
	if s.Request.Body != nil {
		resp.Body = s.Request.Body
	}
	return resp, nil
}

func TestCodecs(t *testing.T) {
	v := serve(t, &Config{Limits: defaults, Request: requestOptions{normalizePath: true}}, echo)
	for name, client := range v.clients() {
		long := strings.Repeat("0123456789abcdef", 1<<16)
		for _, body := range []string{"", "short", long} {
			resp, err := client.Post("http://host/a/../b", "text/plain", strings.NewReader(body))
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			got, err := io.ReadAll(resp.Body)
			if err != nil || string(got) != body || resp.Header.Get("x-path") != "/b" || resp.Header.Get("server") != "envoy" {
				t.Errorf("%s: %d bytes of %d, %v, %v", name, len(got), len(body), resp.Header, err)
			}
			resp.Body.Close()
		}
		if resp, err := client.Head("http://host/"); err != nil || resp.StatusCode != 200 {
			t.Errorf("%s: HEAD: %v %v", name, resp, err)
		}
		if resp, err := client.Get("http://host/#"); err != nil || resp.StatusCode != 200 {
			t.Errorf("%s: %v %v", name, resp, err)
		}
	}
	v.end()
	if v.stats.value("downstream_cx_http1_total") == 0 {
		t.Error("no connection of HTTP/1")
	}
	if n := v.stats.value("downstream_cx_http2_total"); n != 1 {
		t.Errorf("%d connections of HTTP/2, want 1", n)
	}
	if n := v.stats.value("downstream_rq_active"); n != 0 {
		t.Errorf("%d requests are active", n)
	}
	if n := v.stats.value("downstream_cx_active"); n != 0 {
		t.Errorf("%d connections are active", n)
	}
}

// A request that never ends is answered all the same.
func TestCodecsTimeout(t *testing.T) {
	v := serve(t, &Config{Limits: limits{request: 50 * time.Millisecond, delayedClose: time.Second}}, reading)
	for name, client := range v.clients() {
		body, w := io.Pipe()
		resp, err := client.Post("http://host/", "text/plain", body)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if text, _ := io.ReadAll(resp.Body); resp.StatusCode != 408 || string(text) != "request timeout" {
			t.Errorf("%s: %d %q", name, resp.StatusCode, text)
		}
		resp.Body.Close()
		w.Close()
	}
}

// A client that goes away ends what is done for it.
func TestCodecsClientGone(t *testing.T) {
	waits, told := make(chan struct{}, 2), make(chan string, 2)
	v := serve(t, &Config{Limits: defaults}, func(s *filter.HTTPStream) (*httpmsg.Response, error) {
		end := make(chan *httpmsg.ResetError, 1)
		s.OnReset(func(why *httpmsg.ResetError) { end <- why })
		waits <- struct{}{}
		why := <-end
		told <- why.Reason.String()
		return nil, why
	})
	for name, client := range v.clients() {
		if name == "HTTP/1" {
			continue // needs Env.Hangups, which are of sockets
		}
		ctx, cancel := context.WithCancel(t.Context())
		q, _ := http.NewRequestWithContext(ctx, "GET", "http://host/", nil)
		done := make(chan error)
		go func() {
			_, err := client.Do(q)
			done <- err
		}()
		<-waits
		cancel()
		if err := <-done; err == nil {
			t.Errorf("%s: a response", name)
		}
		if why := <-told; why != "remote_reset" {
			t.Errorf("%s: %s", name, why)
		}
	}
}

// A connection that drains ends with the response that is under way.
func TestCodecsDrain(t *testing.T) {
	v := serve(t, &Config{Limits: limits{requests: 2, delayedClose: time.Second}}, hello)
	c := v.dial()
	defer c.Close()
	r := bufio.NewReader(c)
	for i, closes := range []bool{false, true} {
		fmt.Fprint(c, "GET / HTTP/1.1\r\nhost: h\r\n\r\n")
		resp, err := http.ReadResponse(r, nil)
		if err != nil {
			t.Fatal(err)
		}
		io.Copy(io.Discard, resp.Body)
		if resp.Close != closes {
			t.Errorf("request %d: close %v", i, resp.Close)
		}
	}
	if _, err := r.ReadByte(); err != io.EOF {
		t.Errorf("after the last response: %v", err)
	}
}

// A refused upgrade ends the connection, so that what follows is not taken for a request.
func TestCodecsUpgradeRefused(t *testing.T) {
	v := serve(t, &Config{Limits: defaults}, hello)
	c := v.dial()
	defer c.Close()
	fmt.Fprint(c, "GET / HTTP/1.1\r\nhost: h\r\nconnection: upgrade\r\nupgrade: x\r\n\r\nGET /smuggled HTTP/1.1\r\nhost: h\r\n\r\n")
	if half, ok := c.(interface{ CloseWrite() error }); ok {
		half.CloseWrite()
	}
	all, err := io.ReadAll(c)
	if err != nil || strings.Count(string(all), "HTTP/1.1 ") != 1 || !strings.HasPrefix(string(all), "HTTP/1.1 403 ") {
		t.Errorf("%q %v", all, err)
	}
}

// Requests of many clients that end in all ways leave nothing behind.
func TestCodecsTogether(t *testing.T) {
	v := serve(t, &Config{Limits: limits{streamIdle: 20 * time.Millisecond, requests: 50, drain: time.Millisecond, delayedClose: time.Millisecond}},
		func(s *filter.HTTPStream) (*httpmsg.Response, error) {
			switch s.Request.Path {
			case "/stuck":
				return stuck(s)
			case "/error":
				return nil, io.ErrUnexpectedEOF
			case "/reading":
				return reading(s)
			}
			return echo(s)
		})
	var wait sync.WaitGroup
	for name, client := range v.clients() {
		for i := range 20 {
			wait.Go(func() {
				for n := range 15 {
					ctx, cancel := context.WithCancel(t.Context())
					path := []string{"/", "/stuck", "/error", "/reading", "/echo"}[(i+n)%5]
					body, w := io.Pipe()
					q, _ := http.NewRequestWithContext(ctx, "POST", "http://host"+path, body)
					go func() {
						fmt.Fprint(w, name)
						if n%3 == 0 { // later than the server waits
							<-time.After(50 * time.Millisecond)
						}
						w.Close()
					}()
					if n%4 == 0 {
						time.AfterFunc(5*time.Millisecond, cancel)
					}
					if resp, err := client.Do(q); err == nil {
						io.Copy(io.Discard, resp.Body)
						resp.Body.Close()
					}
					cancel()
					w.Close()
				}
			})
		}
	}
	wait.Wait()
	v.end()
	for _, gauge := range []string{"downstream_rq_active", "downstream_cx_active", "downstream_cx_http1_active", "downstream_cx_http2_active"} {
		if n := v.stats.value(gauge); n != 0 {
			t.Errorf("%s = %d", gauge, n)
		}
	}
	v.log.mu.Lock()
	defer v.log.mu.Unlock()
	if n := v.stats.value("downstream_rq_total"); n != int64(len(v.log.list)) || n < 100 {
		t.Errorf("%d requests, %d log entries", n, len(v.log.list))
	}
}
