package script

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

func (s *session) cmdOrigin(_ *testscript.TestScript, neg bool, args []string) error {
	at := ""
	if len(args) > 1 && args[0] == "-at" {
		at, args = args[1], args[2:]
	}
	if neg || len(args) == 0 {
		return errors.New("usage: origin [-at ADDR] NAME, or origin NAME got WHAT, or origin NAME stop")
	}
	name := args[0]
	o := s.origins[name]
	switch {
	case len(args) == 1:
	case o == nil:
		return fmt.Errorf("no origin %s", name)
	case args[1] == "got":
		return poll(stepTimeout, func() error { return o.got(args[2:]) })
	case args[1] == "stop":
		delete(s.origins, name)
		o.stop()
		return nil
	}
	if at == "" {
		port, err := s.ports.get(name)
		if err != nil {
			return err
		}
		at = fmt.Sprintf("127.0.0.1:%d", port)
	}
	o, err := startOrigin(name, at)
	if err != nil {
		return err
	}
	s.origins[name] = o
	return nil
}

// An httpCall is one command "http".
type httpCall struct {
	h2, private     bool
	times, together int
	client, url     string
	method          string
	header          http.Header
	host            string
	body            []byte
}

const httpUsage = "usage: http [-h2] [-private] [-times N | -together N] CLIENT NAME|ADDR METHOD TARGET [HEADER: VALUE]... [-body TEXT | -bytes N]"

func (s *session) parseHTTP(args []string) (*httpCall, error) {
	c := &httpCall{times: 1, header: http.Header{"User-Agent": nil}}
	for len(args) > 0 && strings.HasPrefix(args[0], "-") {
		switch args[0] {
		case "-h2":
			c.h2 = true
		case "-private":
			c.private = true
		case "-times", "-together":
			n, err := strconv.Atoi(args[1])
			if err != nil {
				return nil, err
			}
			c.times = n
			if args[0] == "-together" {
				c.together = n
			}
			args = args[1:]
		default:
			return nil, errors.New(httpUsage)
		}
		args = args[1:]
	}
	if len(args) < 4 {
		return nil, errors.New(httpUsage)
	}
	addr, err := s.address(args[1])
	if err != nil {
		return nil, err
	}
	c.client, c.method, c.url = args[0], args[2], "http://"+addr+args[3]
	return c, c.parseRest(args[4:])
}

func (c *httpCall) parseRest(args []string) error {
	for ; len(args) > 0; args = args[1:] {
		if name, value, ok := strings.Cut(args[0], ": "); ok {
			if strings.EqualFold(name, "host") {
				c.host = value
			} else {
				name = http.CanonicalHeaderKey(name)
				c.header[name] = append(c.header[name], value)
			}
			continue
		}
		if len(args) < 2 {
			return errors.New(httpUsage)
		}
		switch args[0] {
		case "-body":
			text, err := unescape(args[1])
			if err != nil {
				return err
			}
			c.body = []byte(text)
		case "-bytes":
			n, err := strconv.ParseInt(args[1], 10, 64)
			if err != nil {
				return err
			}
			for int64(len(c.body)) < n {
				c.body = append(c.body, patternAt(int64(len(c.body)), n-int64(len(c.body)))...)
			}
		default:
			return errors.New(httpUsage)
		}
		args = args[1:]
	}
	return nil
}

// address is where a name of the script listens, or an address as it stands.
func (s *session) address(name string) (string, error) {
	if strings.Contains(name, ":") {
		return name, nil
	}
	port, err := s.ports.get(name)
	return fmt.Sprintf("127.0.0.1:%d", port), err
}

// httpClient is the client of that name, which keeps its connections.
func (s *session) httpClient(name string, h2 bool) *http.Transport {
	key := fmt.Sprint(name, h2)
	if t := s.https[key]; t != nil {
		return t
	}
	var p http.Protocols
	p.SetHTTP1(!h2)
	p.SetUnencryptedHTTP2(h2)
	t := &http.Transport{Protocols: &p, DisableCompression: true, MaxIdleConnsPerHost: 100}
	s.https[key] = t
	return t
}

func (s *session) cmdHTTP(ts *testscript.TestScript, neg bool, args []string) error {
	c, err := s.parseHTTP(args)
	if err != nil || neg {
		return errors.Join(err, errors.New(httpUsage))
	}
	t := s.httpClient(c.client, c.h2)
	if secure(t) {
		c.url = "https" + strings.TrimPrefix(c.url, "http")
	}
	s.exceptRaces(c)
	var out string
	switch {
	case c.together > 0:
		out = c.allTogether(t)
	case c.times > 1:
		seen := make(map[string]int)
		for range c.times {
			seen[c.statusOf(t)]++
		}
		out = counts(seen)
	default:
		out = c.do(t)
	}
	out = hideHTTP(s.hide(out))
	fmt.Fprint(ts.Stdout(), out)
	if !c.private {
		s.answer("http "+strings.Join(args, " "), out)
	}
	return nil
}

// perRequest are the stats that two races decide: whether the next request comes before the
// connection of the last one is free again, and who of two that both close comes first.
// keptAlive are those that a client of HTTP/1 decides: it finds a connection in its pool, or
// the next request comes a moment before that is there again. perConnection are those that
// the choice of connections does.
var (
	keptAlive     = regexp.MustCompile(`\.downstream_cx_(total|destroy|http1_total)$`)
	perRequest    = regexp.MustCompile(`^cluster\..*\.upstream_(cx_(active|total|http1_total)|rq_pending_total)$|downstream_cx_destroy_(local|remote)$`)
	perConnection = regexp.MustCompile(`_cx_|pending|streams_active`)
)

// exceptRaces excepts what differs from run to run once requests are made, or made
// together.
func (s *session) exceptRaces(c *httpCall) {
	s.outcome.excepted = append(s.outcome.excepted, exception{"stat", perRequest})
	if !c.h2 {
		s.outcome.excepted = append(s.outcome.excepted, exception{"stat", keptAlive})
	}
	if c.together > 0 {
		s.outcome.excepted = append(s.outcome.excepted, exception{"stat", perConnection})
	}
}

func (c *httpCall) allTogether(t *http.Transport) string {
	var mu sync.Mutex
	var wg sync.WaitGroup
	seen := make(map[string]int)
	for range c.together {
		wg.Go(func() {
			status := c.statusOf(t)
			mu.Lock()
			seen[status]++
			mu.Unlock()
		})
	}
	wg.Wait()
	return counts(seen)
}

func counts(seen map[string]int) string {
	var b strings.Builder
	for _, status := range slices.Sorted(maps.Keys(seen)) {
		fmt.Fprintf(&b, "%s: %d times\n", status, seen[status])
	}
	return b.String()
}

func (c *httpCall) statusOf(t *http.Transport) string {
	line, _, _ := strings.Cut(c.do(t), "\n")
	return line
}

// do sends the request and prints what came: the status, the headers in order of their
// names, the body, the trailers; and how it ended, if not in order.
func (c *httpCall) do(t *http.Transport) string {
	ctx, cancel := context.WithTimeout(context.Background(), stepTimeout)
	defer cancel()
	var body io.Reader
	if c.body != nil {
		body = bytes.NewReader(c.body)
	}
	r, err := http.NewRequestWithContext(ctx, c.method, c.url, body)
	if err != nil {
		return err.Error() + "\n"
	}
	r.Header, r.Host = c.header.Clone(), c.host
	resp, err := t.RoundTrip(r)
	if err != nil {
		return failure(err) + "\n"
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	var b strings.Builder
	fmt.Fprintf(&b, "%d\n%s", resp.StatusCode, headerLines(resp.Header))
	if len(resp.TransferEncoding) > 0 {
		fmt.Fprintf(&b, "transfer-encoding: %s\n", strings.Join(resp.TransferEncoding, ","))
	}
	if resp.Close && !c.h2 {
		b.WriteString("connection: close\n")
	}
	b.WriteString("\n" + bodyText(got))
	if len(got) > 0 && got[len(got)-1] != '\n' {
		b.WriteString("\n")
	}
	for _, line := range strings.SplitAfter(headerLines(resp.Trailer), "\n") {
		if line != "" {
			b.WriteString("trailer " + line)
		}
	}
	if err != nil {
		b.WriteString(failure(err) + "\n")
	}
	return b.String()
}

var streamError = regexp.MustCompile(`stream error: .*?; ([A-Z_]+)`)

// failure is the word for an exchange that did not end in order.
func failure(err error) string {
	if m := streamError.FindStringSubmatch(err.Error()); m != nil {
		return "RST_STREAM " + m[1]
	}
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return "no answer"
	case isReset(err):
		return "reset"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), strings.Contains(err.Error(), "server closed"):
		return "closed"
	}
	return err.Error()
}

const expectedTimeout = "x-envoy-expected-rq-timeout-ms"

var unsteadyHeader = regexp.MustCompile(`(?m)^(date|x-envoy-upstream-service-time|` + expectedTimeout + `): .*$`)
var uuid = regexp.MustCompile(`\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b`)

// hideHTTP replaces what differs between requests. Of a timeout that tries before have used
// up a part of, the whole second stays: how much they took is chance.
func hideHTTP(text string) string {
	text = unsteadyHeader.ReplaceAllStringFunc(text, func(line string) string {
		name, value, _ := strings.Cut(line, ": ")
		if ms, err := strconv.Atoi(value); name == expectedTimeout && err == nil && ms >= 1000 {
			return fmt.Sprintf("%s: %d", name, (ms+999)/1000*1000)
		}
		return name + ": N"
	})
	return uuid.ReplaceAllString(text, "UUID")
}

// cmdTunnel opens a tunnel by CONNECT (HTTP/1.1, or HTTP/2), which is then a client for
// stories. A refusal is an answer, and stdout.
func (s *session) cmdTunnel(ts *testscript.TestScript, neg bool, args []string) error {
	h2 := len(args) > 0 && args[0] == "-h2"
	if h2 {
		args = args[1:]
	}
	if len(args) < 3 {
		return errors.New("usage: tunnel [-h2] NAME LISTENER AUTHORITY [HEADER: VALUE]...")
	}
	addr, err := s.address(args[1])
	if err != nil {
		return err
	}
	c := &httpCall{header: http.Header{"User-Agent": nil}}
	if err := c.parseRest(args[3:]); err != nil {
		return err
	}
	open := openTunnel1
	if h2 {
		open = s.openTunnel2
	}
	conn, status, err := open(addr, args[2], c.header)
	if err != nil {
		status = failure(err)
	}
	fmt.Fprintln(ts.Stdout(), status)
	s.answer("tunnel "+strings.Join(args, " "), status)
	if (conn == nil) != neg {
		return fmt.Errorf("the tunnel was answered with %s", status)
	}
	if conn != nil {
		if old := s.clients[args[0]]; old != nil {
			old.conn.Close()
		}
		s.clients[args[0]] = &actor{conn: conn}
	}
	return nil
}

// openTunnel1 reads the head byte by byte, for what follows belongs to the story.
func openTunnel1(addr, authority string, h http.Header) (net.Conn, string, error) {
	c, err := net.DialTimeout("tcp", addr, stepTimeout)
	if err != nil {
		return nil, "", err
	}
	c.SetDeadline(time.Now().Add(stepTimeout))
	var head strings.Builder
	fmt.Fprintf(&head, "CONNECT %s HTTP/1.1\r\nhost: %s\r\n", authority, authority)
	for name, values := range h {
		for _, v := range values {
			fmt.Fprintf(&head, "%s: %s\r\n", name, v)
		}
	}
	if _, err := io.WriteString(c, head.String()+"\r\n"); err != nil {
		c.Close()
		return nil, "", err
	}
	var answer []byte
	for b := make([]byte, 1); !bytes.HasSuffix(answer, []byte("\r\n\r\n")); {
		if _, err := c.Read(b); err != nil {
			c.Close()
			return nil, string(answer), err
		}
		answer = append(answer, b[0])
	}
	c.SetDeadline(time.Time{})
	line, _, _ := strings.Cut(string(answer), "\r\n")
	if !strings.HasPrefix(line, "HTTP/1.1 2") {
		c.Close()
		return nil, line, nil
	}
	return c, line, nil
}

func (s *session) openTunnel2(addr, authority string, h http.Header) (net.Conn, string, error) {
	ctx, cancel := context.WithCancel(context.Background())
	out, in := io.Pipe()
	r, err := http.NewRequestWithContext(ctx, "CONNECT", "http://"+addr, out)
	if err != nil {
		cancel()
		return nil, "", err
	}
	r.Host, r.Header, r.ContentLength = authority, h, -1
	late := time.AfterFunc(stepTimeout, cancel)
	resp, err := s.httpClient("tunnels", true).RoundTrip(r)
	late.Stop()
	if err != nil {
		cancel()
		return nil, "", err
	}
	status := fmt.Sprintf("HTTP/2 %d", resp.StatusCode)
	if resp.StatusCode/100 != 2 {
		resp.Body.Close()
		cancel()
		return nil, status, nil
	}
	return &tunnel2{in: in, out: resp.Body, ctx: ctx, cancel: cancel}, status, nil
}
