package script

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// A session is the state of one script on one subject. Its commands run one at
// a time, in the script's goroutine.
type session struct {
	subject Subject
	hops    int
	work    string
	ports   ports

	proxy, last *process // the running one; the one before it
	started     []*process
	adminBase   string // URL of the admin address
	backends    map[string]*backend
	clients     map[string]*actor
	origins     map[string]*origin
	https       map[string]*http.Transport // clients of the command http
	requests    bool                       // HTTP is served
	stops       []func()
	certs       map[string]*certificate
	sessions    map[string]tls.ClientSessionCache // of clients that resume

	outcome Outcome

	nameServers map[string]*nameServer
}

type sessionKey struct{}

type command func(*session, *testscript.TestScript, bool, []string) error

func commands() map[string]func(*testscript.TestScript, bool, []string) {
	all := map[string]command{
		"proxy":     (*session).cmdProxy,
		"backend":   (*session).cmdBackend,
		"blackhole": (*session).cmdBlackhole,
		"dns":       (*session).cmdDNS,
		"release":   (*session).cmdRelease,
		"client":    (*session).cmdClient,
		"origin":    (*session).cmdOrigin,
		"http":      (*session).cmdHTTP,
		"tunnel":    (*session).cmdTunnel,
		"stat":      (*session).cmdStat,
		"log":       (*session).cmdLog,
		"admin":     (*session).cmdAdmin,
		"modes":     (*session).cmdModes,
		"replace":   (*session).cmdReplace,
		"put":       (*session).cmdPut,

		"cert":       (*session).cmdCert,
		"crl":        (*session).cmdCRL,
		"ocsp":       (*session).cmdOCSP,
		"tls":        (*session).cmdTLS,
		"tlsbackend": (*session).cmdTLSBackend,
		"https":      (*session).cmdHTTPS,
	}
	out := make(map[string]func(*testscript.TestScript, bool, []string))
	for name, c := range all {
		out[name] = func(ts *testscript.TestScript, neg bool, args []string) {
			s, ok := ts.Value(sessionKey{}).(*session)
			if !ok {
				ts.Fatalf("no session")
			}
			if err := c(s, ts, neg, args); err != nil {
				ts.Fatalf("%s: %v", name, err)
			}
		}
	}
	return out
}

func (s *session) cmdBackend(_ *testscript.TestScript, neg bool, args []string) error {
	at := ""
	if len(args) > 1 && args[0] == "-at" {
		at, args = args[1], args[2:]
	}
	if neg || len(args) < 2 {
		return errors.New("usage: backend [-at ADDR] NAME STORY, or backend NAME got WHAT")
	}
	name, args := args[0], args[1:]
	if args[0] == "got" {
		b := s.backends[name]
		if b == nil {
			return fmt.Errorf("no backend %s", name)
		}
		return poll(stepTimeout, func() error { return b.got(args[1:]) })
	}
	story, err := parseStory(args)
	if err != nil {
		return err
	}
	if at == "" {
		port, err := s.ports.get(name)
		if err != nil {
			return err
		}
		at = fmt.Sprintf("127.0.0.1:%d", port)
	}
	if old := s.backends[name]; old != nil {
		delete(s.backends, name)
		if err := old.stop(); err != nil {
			return err
		}
	}
	b, err := startBackend(name, at, story)
	if err != nil {
		return err
	}
	s.backends[name] = b
	return nil
}

func (s *session) cmdBlackhole(_ *testscript.TestScript, neg bool, args []string) error {
	if neg || len(args) != 1 {
		return errors.New("usage: blackhole NAME")
	}
	port, err := s.ports.get(args[0])
	if err != nil {
		return err
	}
	stop, err := blackhole(port)
	if err != nil {
		return err
	}
	s.stops = append(s.stops, stop)
	return nil
}

func (s *session) cmdRelease(_ *testscript.TestScript, neg bool, args []string) error {
	if neg || len(args) != 1 {
		return errors.New("usage: release BACKEND")
	}
	if o := s.origins[args[0]]; o != nil {
		return o.release()
	}
	if s.backends[args[0]] == nil {
		return fmt.Errorf("no backend or origin %s", args[0])
	}
	return s.backends[args[0]].release()
}

func (s *session) cmdClient(_ *testscript.TestScript, neg bool, args []string) error {
	const usage = "usage: client [-times N | -together N] NAME STORY"
	tell, times := s.tell, 1
	if len(args) > 1 && strings.HasPrefix(args[0], "-") {
		n, err := strconv.Atoi(args[1])
		if err != nil {
			return err
		}
		switch args[0] {
		case "-times":
		case "-together":
			tell = s.tellTogether
		default:
			return errors.New(usage)
		}
		times, args = n, args[2:]
	}
	if len(args) < 2 {
		return errors.New(usage)
	}
	story, err := parseStory(args[1:])
	if err != nil {
		return err
	}
	err = tell(args[0], story, times)
	if neg && err == nil {
		return errors.New("nothing went wrong")
	}
	if neg {
		return nil
	}
	return err
}

func (s *session) tell(name string, story []step, times int) error {
	for i := range times {
		a, rest, err := s.client(name, story)
		if err == nil {
			err = a.follow(rest)
		}
		if err != nil && times > 1 {
			err = fmt.Errorf("time %d of %d: %w", i+1, times, err)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// tellTogether lets n clients name1, name2, ... follow the story at the same time.
func (s *session) tellTogether(name string, story []step, n int) error {
	actors := make([]*actor, n)
	var rest []step
	for i := range actors {
		var err error
		if actors[i], rest, err = s.client(fmt.Sprint(name, i+1), story); err != nil {
			return fmt.Errorf("client %d of %d: %w", i+1, n, err)
		}
	}
	errs := make([]error, n)
	var wg sync.WaitGroup
	for i, a := range actors {
		wg.Go(func() { errs[i] = a.follow(rest) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// client is the client of that name, connected anew where the story begins so,
// and what remains of the story.
func (s *session) client(name string, story []step) (*actor, []step, error) {
	if story[0].verb == "connect" {
		if err := s.connect(name, story[0].args); err != nil {
			return nil, nil, err
		}
		story = story[1:]
	}
	a := s.clients[name]
	if a == nil {
		return nil, nil, fmt.Errorf("client %s is not connected", name)
	}
	return a, story, nil
}

func (s *session) connect(name string, args []string) error {
	if len(args) != 1 {
		return errors.New("connect wants one address")
	}
	network, addr := "tcp", args[0]
	if path, ok := strings.CutPrefix(addr, "unix:"); ok {
		network, addr = "unix", path
	} else if !strings.Contains(addr, ":") {
		port, err := s.ports.get(addr)
		if err != nil {
			return err
		}
		addr = fmt.Sprintf("127.0.0.1:%d", port)
	}
	c, err := net.DialTimeout(network, addr, stepTimeout)
	if errors.Is(err, syscall.ECONNRESET) {
		c, err = resetConn{}, nil
	}
	if err != nil {
		return err
	}
	if old := s.clients[name]; old != nil {
		old.conn.Close()
	}
	s.clients[name] = &actor{conn: c}
	return nil
}

// A resetConn is a connection that was accepted and reset before connect had
// returned, which the kernel reports as the error of the connect.
type resetConn struct{ net.Conn }

func (resetConn) Read([]byte) (int, error)         { return 0, syscall.ECONNRESET }
func (resetConn) Write([]byte) (int, error)        { return 0, syscall.EPIPE }
func (resetConn) CloseWrite() error                { return nil }
func (resetConn) Close() error                     { return nil }
func (resetConn) SetDeadline(time.Time) error      { return nil }
func (resetConn) SetReadDeadline(time.Time) error  { return nil }
func (resetConn) SetWriteDeadline(time.Time) error { return nil }

// cmdModes notes where hand-over and pipes may differ in this script.
func (s *session) cmdModes(_ *testscript.TestScript, neg bool, args []string) error {
	if neg || len(args) < 3 || !slices.Contains([]string{"stat", "log"}, args[0]) {
		return errors.New("usage: modes stat|log REGEXP REASON")
	}
	re, err := regexp.Compile(args[1])
	if err != nil {
		return err
	}
	s.outcome.excepted = append(s.outcome.excepted, exception{args[0], re})
	return nil
}

// cmdReplace changes a file of the script, so that a published sample can stand
// in it word for word.
func (s *session) cmdReplace(_ *testscript.TestScript, neg bool, args []string) error {
	if neg || len(args) < 3 || len(args)%2 == 0 {
		return errors.New("usage: replace FILE OLD NEW [OLD NEW]")
	}
	file := filepath.Join(s.work, args[0])
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	out := string(text)
	for pair := range slices.Chunk(args[1:], 2) {
		if !strings.Contains(out, pair[0]) {
			return fmt.Errorf("%s has no %q", args[0], pair[0])
		}
		out = strings.ReplaceAll(out, pair[0], pair[1])
	}
	return os.WriteFile(file, []byte(out), 0o644)
}

// cmdPut fills a file of the script in, and moves it to where the proxy watches: who reads
// sees all of it, or what was there before.
func (s *session) cmdPut(_ *testscript.TestScript, neg bool, args []string) error {
	if neg || len(args) != 2 {
		return errors.New("usage: put FILE TARGET")
	}
	path, err := s.rendered(args[0])
	if err != nil {
		return err
	}
	target := filepath.Join(s.work, args[1])
	if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
		return err
	}
	return os.Rename(filepath.Join(s.work, path), target)
}

// close ends everything the script has started. What went wrong in a backend is
// the script's failure.
func (s *session) close() (err error) {
	if s.proxy != nil {
		err = s.stop(nil)
	}
	for _, p := range s.started {
		s.outcome.Crashed += p.crashed()
	}
	s.snapshotLogs()
	for _, a := range s.clients {
		a.conn.Close()
	}
	for _, b := range s.backends {
		err = errors.Join(err, b.stop())
	}
	for _, t := range s.https {
		t.CloseIdleConnections()
	}
	for _, o := range s.origins {
		o.stop()
	}
	for _, stop := range s.stops {
		stop()
	}
	s.ports.release()
	return err
}
