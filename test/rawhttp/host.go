package rawhttp

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/textproto"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// A host is the upstream: it records every request that arrives whole, and answers with
// the target, or with the bytes that a test has put under the target.
type host struct {
	ln net.Listener
	wg sync.WaitGroup

	mu    sync.Mutex
	next  *answer // to the next requests for "answer"
	seen  []request
	conns map[net.Conn]bool
	count int // connections so far
}

// A request is what arrived, and over which connection, counted from 1.
type request struct {
	text string
	conn int
}

// newHost listens until t ends.
func newHost(t testing.TB) *host {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	h := &host{ln: ln, conns: make(map[net.Conn]bool)}
	h.wg.Go(h.accept)
	t.Cleanup(h.close)
	return h
}

// closing, at the end of an answer, stands for the end of the connection.
const closing = "<close>"

func (h *host) port() int { return h.ln.Addr().(*net.TCPAddr).Port }

func (h *host) close() {
	h.ln.Close()
	h.mu.Lock()
	for c := range h.conns {
		c.Close()
	}
	h.mu.Unlock()
	h.wg.Wait()
}

func (h *host) accept() {
	for {
		c, err := h.ln.Accept()
		if err != nil {
			return
		}
		h.mu.Lock()
		h.count++
		id := h.count
		h.conns[c] = true
		h.mu.Unlock()
		h.wg.Go(func() {
			h.serve(c, id)
			c.Close()
			h.mu.Lock()
			delete(h.conns, c)
			h.mu.Unlock()
		})
	}
}

// take returns what has arrived since the last time.
func (h *host) take() []request {
	h.mu.Lock()
	defer h.mu.Unlock()
	seen := h.seen
	h.seen = nil
	return seen
}

func (h *host) serve(c net.Conn, id int) {
	r := bufio.NewReaderSize(c, 64<<10)
	for {
		if !h.serveOne(c, r, id) {
			return
		}
	}
}

// serveOne answers a request, and reports whether the connection goes on.
func (h *host) serveOne(c net.Conn, r *bufio.Reader, id int) bool {
	var m message
	header, err := m.readHead(r)
	if err != nil {
		return false
	}
	text, early := h.answerTo(m.start)
	if !early && m.readBody(r, header) != nil {
		return false
	}
	h.mu.Lock()
	h.seen = append(h.seen, request{m.String(), id})
	h.mu.Unlock()
	text, last := strings.CutSuffix(text, closing)
	if _, err := io.WriteString(c, text); err != nil || last {
		return false
	}
	return !early || m.readBody(r, header) == nil
}

// answer sets what is answered to who asks for "answer".
func (h *host) answer(a *answer) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.next = a
}

// answerTo is what is answered to a request line, and whether before the body is read.
func (h *host) answerTo(start string) (text string, early bool) {
	method, rest, _ := strings.Cut(start, " ")
	target, _, _ := strings.Cut(rest, " ")
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.next != nil && strings.Contains(target, "answer") {
		return h.next.text, h.next.early
	}
	text = fmt.Sprintf("HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n", len(target))
	switch method {
	case "HEAD":
		return text, false
	case "CONNECT":
		return "HTTP/1.1 405 Method Not Allowed\r\ncontent-length: 0\r\n\r\n", false
	}
	return text + target, false
}

// A message is a request as a lenient parser reads it.
type message struct {
	start   string
	fields  []string // "name=value", in order of names
	body    string
	trailer []string
}

// added are names of headers that some proxies add.
var added = []string{"x-forwarded-", "x-request-id", "x-envoy-", "x-real-ip", "via", "user-agent", "forwarded"}

func (m *message) String() string {
	start, _ := strings.CutSuffix(m.start, " HTTP/1.1")
	out := append([]string{start}, m.fields...)
	if m.body != "" {
		out = append(out, strconv.Quote(m.body))
	}
	return strings.Join(append(out, m.trailer...), " ")
}

func (m *message) readHead(r *bufio.Reader) (h textproto.MIMEHeader, err error) {
	if m.start, err = readLine(r); err != nil {
		return nil, err
	}
	h, err = readFields(r)
	m.fields = list(h, "")
	return h, err
}

func (m *message) readBody(r *bufio.Reader, h textproto.MIMEHeader) error {
	switch {
	case h.Get("transfer-encoding") != "":
		return m.readChunks(r)
	case h.Get("content-length") != "":
		n, err := strconv.ParseUint(h.Get("content-length"), 10, 31)
		if err != nil {
			return err
		}
		b := make([]byte, n)
		_, err = io.ReadFull(r, b)
		m.body = string(b)
		return err
	}
	return nil
}

func (m *message) readChunks(r *bufio.Reader) error {
	for {
		line, err := readLine(r)
		if err != nil {
			return err
		}
		n, err := strconv.ParseUint(line, 16, 31)
		if err != nil {
			return err
		}
		if n == 0 {
			h, err := readFields(r)
			m.trailer = list(h, "+")
			return err
		}
		b := make([]byte, n)
		if _, err := io.ReadFull(r, b); err != nil {
			return err
		}
		m.body += string(b)
		if _, err := readLine(r); err != nil {
			return err
		}
	}
}

func readLine(r *bufio.Reader) (string, error) {
	line, err := r.ReadString('\n')
	return strings.TrimSuffix(strings.TrimSuffix(line, "\n"), "\r"), err
}

func readFields(r *bufio.Reader) (textproto.MIMEHeader, error) {
	h := make(textproto.MIMEHeader)
	for {
		line, err := readLine(r)
		if err != nil || line == "" {
			return h, err
		}
		name, value, _ := strings.Cut(line, ":")
		h.Add(name, strings.TrimLeft(value, " "))
	}
}

// list returns the fields that say something, sorted.
func list(h textproto.MIMEHeader, prefix string) (out []string) {
	for name, values := range h {
		name = strings.ToLower(name)
		if slices.ContainsFunc(added, func(p string) bool { return strings.HasPrefix(name, p) }) {
			continue
		}
		for _, v := range values {
			if name == "connection" {
				v = strings.ToLower(v)
			}
			q := strconv.Quote(v)
			if q == `"`+v+`"` && v != "" && !strings.Contains(v, " ") {
				q = v
			}
			out = append(out, prefix+name+"="+q)
		}
	}
	slices.Sort(out)
	return out
}
