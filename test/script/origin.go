package script

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// An origin is an HTTP server, of HTTP/1.1 and of HTTP/2 with prior knowledge. It
// answers with what it was asked, and otherwise does what the request's "do" lines say.
type origin struct {
	name   string
	server *http.Server
	tokens chan struct{}
	done   chan struct{} // closed by stop
	wg     sync.WaitGroup

	mu    sync.Mutex
	seen  map[string]int // requests by method and path
	times map[string]int // of "first N ..." by request and text
	conns int
}

func startOrigin(name, addr string) (*origin, error) {
	ln, err := listen(addr)
	if err != nil {
		return nil, err
	}
	o := newOrigin(name)
	o.wg.Go(func() { o.server.Serve(ln) })
	return o, nil
}

func newOrigin(name string) *origin {
	o := &origin{
		name: name, tokens: make(chan struct{}), done: make(chan struct{}),
		seen: make(map[string]int), times: make(map[string]int),
	}
	var both http.Protocols
	both.SetHTTP1(true)
	both.SetUnencryptedHTTP2(true)
	o.server = &http.Server{Handler: o, Protocols: &both, ConnState: o.connected}
	return o
}

func (o *origin) connected(_ net.Conn, s http.ConnState) {
	if s == http.StateNew {
		o.mu.Lock()
		o.conns++
		o.mu.Unlock()
	}
}

func (o *origin) stop() {
	close(o.done)
	o.server.Close()
	o.wg.Wait()
}

func (o *origin) release() error {
	select {
	case o.tokens <- struct{}{}:
		return nil
	case <-time.After(stepTimeout):
		return fmt.Errorf("no request to origin %s is held", o.name)
	}
}

// got checks once what the origin has seen: conns N, or requests N [METHOD PATH].
func (o *origin) got(what []string) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	var n int
	switch {
	case len(what) == 2 && what[0] == "conns":
		n = o.conns
	case len(what) == 2 && what[0] == "requests":
		for _, k := range o.seen {
			n += k
		}
	case len(what) == 4 && what[0] == "requests":
		n = o.seen[what[2]+" "+what[3]]
	default:
		return final{fmt.Errorf("an origin cannot tell %q", what)}
	}
	if want, err := strconv.Atoi(what[1]); err != nil || n != want {
		return fmt.Errorf("origin %s got %d %s", o.name, n, what[0])
	}
	return nil
}

// ServeHTTP implements http.Handler.
func (o *origin) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	o.mu.Lock()
	o.seen[r.Method+" "+r.URL.RequestURI()]++
	o.mu.Unlock()
	a := &originAnswer{origin: o, w: w, r: r, status: 200}
	for _, do := range r.Header.Values("do") {
		if a.do(do); a.over {
			return
		}
	}
	a.finish()
}

// An originAnswer is one request as it is being answered.
type originAnswer struct {
	origin *origin
	w      http.ResponseWriter
	r      *http.Request
	status int
	text   *string // nil: what was asked
	sent   bool    // the head
	over   bool
}

func (a *originAnswer) do(line string) {
	verb, rest, _ := strings.Cut(line, " ")
	switch verb {
	case "first": // first N VERB...: only the first N times
		count, then, _ := strings.Cut(rest, " ")
		n, _ := strconv.Atoi(count)
		a.origin.mu.Lock()
		key := a.r.Method + " " + a.r.URL.RequestURI() + " " + line
		a.origin.times[key]++
		hit := a.origin.times[key] <= n
		a.origin.mu.Unlock()
		if hit {
			a.do(then)
		}
	case "status":
		a.status, _ = strconv.Atoi(rest)
	case "header":
		name, value, _ := strings.Cut(rest, ": ")
		a.w.Header()[http.CanonicalHeaderKey(name)] = append(a.w.Header().Values(name), value)
	case "trailer":
		name, value, _ := strings.Cut(rest, ": ")
		a.w.Header().Add(http.TrailerPrefix+name, value)
	case "body":
		a.text = &rest
	case "grpc":
		a.grpc(rest)
	case "inform":
		n, _ := strconv.Atoi(rest)
		a.w.WriteHeader(n)
	case "sleep":
		d, _ := time.ParseDuration(rest)
		a.wait(time.After(d))
	case "hold":
		a.wait(nil)
	case "flush": // the head, and of the body what there is
		a.head()
		http.NewResponseController(a.w).Flush()
	case "bytes":
		a.bytes(rest)
	case "echo":
		a.echo()
	case "reset":
		a.over = true
		a.abort()
	}
}

// grpc answers a call with a message, given in hexadecimal.
func (a *originAnswer) grpc(message string) {
	m, _ := hex.DecodeString(message)
	text := string(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(m)))) + string(m)
	a.w.Header().Set("content-type", "application/grpc")
	a.w.Header().Set(http.TrailerPrefix+"grpc-status", "0")
	a.text = &text
}

// wait waits for c, or the script's release.
func (a *originAnswer) wait(c <-chan time.Time) {
	tokens := a.origin.tokens
	if c != nil {
		tokens = nil
	}
	select {
	case <-c:
	case <-tokens:
	case <-a.origin.done:
		a.over = true
	case <-a.r.Context().Done():
		a.over = true
	}
}

func (a *originAnswer) head() {
	if !a.sent {
		a.sent = true
		a.w.WriteHeader(a.status)
	}
}

func (a *originAnswer) bytes(count string) {
	n, _ := strconv.ParseInt(count, 10, 64)
	a.head()
	for at := int64(0); at < n; {
		k, err := a.w.Write(patternAt(at, n-at))
		at += int64(k)
		if err != nil {
			break
		}
	}
	a.over = true
}

// echo sends back what comes as it comes.
func (a *originAnswer) echo() {
	http.NewResponseController(a.w).EnableFullDuplex()
	a.head()
	http.NewResponseController(a.w).Flush()
	buf := make([]byte, 16<<10)
	for {
		n, err := a.r.Body.Read(buf)
		a.w.Write(buf[:n])
		http.NewResponseController(a.w).Flush()
		if err != nil {
			a.over = true
			return
		}
	}
}

// abort ends the stream: on HTTP/1 with a reset of the connection.
func (a *originAnswer) abort() {
	if h, ok := a.w.(http.Hijacker); ok {
		if c, _, err := h.Hijack(); err == nil {
			if t, ok := c.(*net.TCPConn); ok {
				t.SetLinger(0)
			}
			c.Close()
			return
		}
	}
	panic(http.ErrAbortHandler)
}

func (a *originAnswer) finish() {
	text := ""
	if a.text != nil {
		text = *a.text
		io.Copy(io.Discard, a.r.Body)
	} else {
		text = asked(a.r)
	}
	a.head()
	io.WriteString(a.w, text)
}

// asked prints a request: its line, its headers in order of their names, its body.
func asked(r *http.Request) string {
	body, err := io.ReadAll(r.Body)
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s %s\nhost: %s\n", r.Method, r.RequestURI, r.Proto, r.Host)
	if len(r.TransferEncoding) > 0 {
		fmt.Fprintf(&b, "transfer-encoding: %s\n", strings.Join(r.TransferEncoding, ","))
	}
	b.WriteString(headerLines(r.Header, "Do"))
	b.WriteString("\n" + bodyText(body))
	for _, line := range strings.SplitAfter(headerLines(r.Trailer), "\n") {
		if line != "" {
			b.WriteString("trailer " + line)
		}
	}
	if err != nil && !errors.Is(err, context.Canceled) {
		b.WriteString("\nthe body ends with an error\n")
	}
	return b.String()
}

// headerLines prints a header in order of the names, which net/http does not keep.
func headerLines(h http.Header, without ...string) string {
	var lines []string
	for name, values := range h {
		if !slices.Contains(without, name) {
			for _, v := range values {
				lines = append(lines, strings.ToLower(name)+": "+v+"\n")
			}
		}
	}
	slices.Sort(lines)
	return strings.Join(lines, "")
}

// bodyText is a body that fits a screen, or a word on it.
func bodyText(b []byte) string {
	if len(b) <= 4096 {
		return string(b)
	}
	for at := int64(0); at < int64(len(b)); {
		p := patternAt(at, int64(len(b))-at)
		if string(p) != string(b[at:at+int64(len(p))]) {
			return fmt.Sprintf("[%d bytes, not those of the pattern]", len(b))
		}
		at += int64(len(p))
	}
	return fmt.Sprintf("[%d bytes of the pattern]", len(b))
}
