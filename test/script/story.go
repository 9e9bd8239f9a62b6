package script

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	quietFor = 200 * time.Millisecond // what "expect quiet" waits
	headSize = 64 << 10               // of the received bytes a record keeps
)

// stepTimeout is how long one step or question waits for what it expects. The
// default is for loaded machines; SCRIPT_PATIENCE=1s suits the writing of scripts.
var stepTimeout = func() time.Duration {
	if d, err := time.ParseDuration(os.Getenv("SCRIPT_PATIENCE")); err == nil && d > 0 {
		return d
	}
	return 20 * time.Second
}()

// A step is one verb of a story with its arguments.
type step struct {
	verb string
	args []string
}

func (s step) String() string { return strings.Join(append([]string{s.verb}, s.args...), " ") }

// parseStory cuts a story at its "then".
func parseStory(words []string) ([]step, error) {
	var story []step
	for len(words) > 0 {
		n := 0
		for n < len(words) && words[n] != "then" {
			n++
		}
		if n == 0 || n == len(words)-1 {
			return nil, errors.New("nothing said before or after \"then\"")
		}
		story = append(story, step{words[0], words[1:n]})
		words = words[min(n+1, len(words)):]
	}
	if len(story) == 0 {
		return nil, errors.New("no steps")
	}
	return story, nil
}

// pattern is what "N bytes" sends: random, so that nothing compresses or
// repeats, and prime in length, so that a lost block is seen.
var pattern = sync.OnceValue(func() []byte {
	b := make([]byte, 1048573)
	rand.NewChaCha8([32]byte{'g', 'i', 'n', 'n', 'e', 'l'}).Read(b)
	return b
})

// patternAt is a non-empty piece of the endless pattern, at most n bytes long.
func patternAt(offset, n int64) []byte {
	p := pattern()
	p = p[offset%int64(len(p)):]
	return p[:min(n, int64(len(p)), 64<<10)]
}

// A record is what one side saw of its connection.
type record struct {
	mu    sync.Mutex
	bytes int64
	head  []byte // the first headSize bytes
	end   string // "", "end" (FIN) or "reset"
}

func (r *record) add(b []byte, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.bytes += int64(len(b))
	if room := headSize - len(r.head); room > 0 {
		r.head = append(r.head, b[:min(room, len(b))]...)
	}
	switch {
	case r.end != "": // a read after a reset gives EOF
	case errors.Is(err, io.EOF):
		r.end = "end"
	case isReset(err):
		r.end = "reset"
	}
}

func (r *record) see() (n int64, head, end string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.bytes, string(r.head), r.end
}

func isReset(err error) bool {
	return errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

// An actor is one side of a connection that follows a story.
type actor struct {
	conn      net.Conn
	record    record
	sent, got int64           // of the pattern
	tokens    <-chan struct{} // one for each step "wait"; nil for clients
	done      <-chan struct{} // closed when the script ends
	closed    bool            // by this side
}

var errPeerEnded = errors.New("the peer has ended the connection")

func (a *actor) follow(story []step) error {
	for _, s := range story {
		if err := a.do(s); err != nil {
			return fmt.Errorf("%s: %w", s, err)
		}
	}
	return nil
}

func (a *actor) do(s step) error {
	if a.conn == nil {
		return errors.New("not connected")
	}
	a.conn.SetDeadline(time.Now().Add(stepTimeout))
	switch s.verb {
	case "send", "expect", "exchange", "fill":
		return a.transfer(s)
	case "drain":
		return a.drain()
	case "echo":
		return a.echo()
	case "fin":
		return a.fin()
	case "close":
		a.closed = true
		return a.conn.Close()
	case "reset":
		return a.reset()
	case "wait":
		return a.wait()
	case "hold":
		<-a.done
		return errPeerEnded
	}
	return errors.New("no such step")
}

func (a *actor) transfer(s step) error {
	if len(s.args) == 2 && s.args[1] == "bytes" {
		n, err := strconv.ParseInt(s.args[0], 10, 64)
		if err != nil {
			return err
		}
		switch s.verb {
		case "send":
			return a.sendPattern(n)
		case "expect":
			return a.expectPattern(n)
		case "fill":
			return a.fill(n)
		}
		return a.exchange(n)
	}
	if len(s.args) != 1 {
		return errors.New("wants one text, or N bytes")
	}
	if s.verb == "expect" {
		return a.expect(s.args[0])
	}
	text, err := unescape(s.args[0])
	if err != nil {
		return err
	}
	_, err = a.write([]byte(text))
	return err
}

func unescape(s string) (string, error) {
	return strconv.Unquote(`"` + strings.ReplaceAll(s, `"`, `\"`) + `"`)
}

func (a *actor) read(b []byte) (int, error) {
	n, err := a.conn.Read(b)
	a.record.add(b[:n], err)
	return n, err
}

// write reports a peer that is gone as errPeerEnded: a story about an aborted
// transfer ends there, and its record tells how.
func (a *actor) write(b []byte) (int, error) {
	n, err := a.conn.Write(b)
	if isReset(err) {
		a.record.add(nil, err)
		return n, errPeerEnded
	}
	return n, err
}

func (a *actor) sendPattern(n int64) error {
	for end := a.sent + n; a.sent < end; {
		a.conn.SetWriteDeadline(time.Now().Add(stepTimeout))
		k, err := a.write(patternAt(a.sent, end-a.sent))
		a.sent += int64(k)
		if err != nil {
			return err
		}
	}
	return nil
}

// fill sends until nobody takes more, which must happen before n bytes.
func (a *actor) fill(n int64) error {
	for start := a.sent; a.sent < start+n; {
		a.conn.SetWriteDeadline(time.Now().Add(2 * quietFor))
		k, err := a.write(patternAt(a.sent, start+n-a.sent))
		a.sent += int64(k)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return nil
		}
		if err != nil {
			return err
		}
	}
	return fmt.Errorf("all of %d bytes were taken", n)
}

func (a *actor) expectPattern(n int64) error {
	start := a.got
	buf := make([]byte, 64<<10)
	for end := a.got + n; a.got < end; {
		want := patternAt(a.got, end-a.got)
		a.conn.SetReadDeadline(time.Now().Add(stepTimeout))
		k, err := a.read(buf[:len(want)])
		if !bytes.Equal(buf[:k], want[:k]) {
			return fmt.Errorf("wrong bytes within %d after the first %d", k, a.got-start)
		}
		a.got += int64(k)
		if err != nil {
			return fmt.Errorf("%d of %d bytes came, then %s", a.got-start, n, ending(err))
		}
	}
	return nil
}

func (a *actor) exchange(n int64) error {
	sent := make(chan error, 1)
	go func() { sent <- a.sendPattern(n) }()
	err := a.expectPattern(n)
	if err != nil {
		a.conn.SetDeadline(time.Now()) // ends the sender
	}
	return errors.Join(err, <-sent)
}

func (a *actor) expect(what string) error {
	switch what {
	case "end", "reset", "quiet":
		return a.expectEnding(what)
	}
	want, err := unescape(what)
	if err != nil {
		return err
	}
	b := make([]byte, len(want))
	n := 0
	for n < len(b) && err == nil {
		var k int
		k, err = a.read(b[n:])
		n += k
	}
	if string(b[:n]) != want {
		return fmt.Errorf("got %q, then %s", b[:n], ending(err))
	}
	return nil
}

func (a *actor) expectEnding(want string) error {
	if want == "quiet" {
		a.conn.SetReadDeadline(time.Now().Add(quietFor))
	}
	if _, _, end := a.record.see(); end != "" && end == want {
		return nil
	}
	b := make([]byte, 4096)
	n, err := a.read(b)
	if n > 0 {
		return fmt.Errorf("got %q instead", b[:n])
	}
	if got := ending(err); got != want && !(want == "quiet" && errors.Is(err, os.ErrDeadlineExceeded)) {
		return fmt.Errorf("got %s instead", got)
	}
	return nil
}

// ending is the story's word for the error of a read.
func ending(err error) string {
	switch {
	case err == nil:
		return "more"
	case errors.Is(err, io.EOF):
		return "end"
	case isReset(err):
		return "reset"
	case errors.Is(err, os.ErrDeadlineExceeded):
		return "nothing"
	}
	return err.Error()
}

func (a *actor) drain() error {
	b := make([]byte, 64<<10)
	for {
		a.conn.SetReadDeadline(time.Now().Add(stepTimeout))
		if _, err := a.read(b); err != nil {
			if _, _, end := a.record.see(); end == "" {
				return err
			}
			return nil
		}
	}
}

func (a *actor) echo() error {
	b := make([]byte, 64<<10)
	for {
		a.conn.SetDeadline(time.Time{}) // an echo waits as long as its client
		n, err := a.read(b)
		if n > 0 {
			if _, err := a.write(b[:n]); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			err = a.fin()
			if errors.Is(err, syscall.ENOTCONN) {
				return errPeerEnded // a reset came behind the FIN, as of a health check
			}
			return err
		}
		if err != nil {
			return errPeerEnded
		}
	}
}

func (a *actor) fin() error {
	if c, ok := a.conn.(interface{ CloseWrite() error }); ok {
		return c.CloseWrite()
	}
	return fmt.Errorf("no half close on %T", a.conn)
}

func (a *actor) reset() error {
	a.closed = true
	if c, ok := a.conn.(interface{ SetLinger(int) error }); ok {
		c.SetLinger(0)
	}
	return a.conn.Close()
}

func (a *actor) wait() error {
	select {
	case <-a.tokens:
		return nil
	case <-a.done:
		return errPeerEnded
	}
}
