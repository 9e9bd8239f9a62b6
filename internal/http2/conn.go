package http2

import (
	"errors"
	"io"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	xhttp2 "golang.org/x/net/http2"

	"github.com/ginnel/ginnel/httpmsg"
	"github.com/ginnel/ginnel/internal/inproc/pipe"
)

// A conn is what both sides of a connection have in common. Its reader is the goroutine
// that runs it; the writer is another one.
type conn struct {
	nc     Conn
	o      Options // with defaults
	side   side
	server bool

	// The reader's own.
	in      input
	dec     *decoder
	block   block
	budget  budget
	greeted bool // the peer's first SETTINGS have come
	timed   bool // the time of a head that has begun is limited, by the deadline of reads

	reads  atomic.Uint32 // grows whenever bytes come
	pinged atomic.Uint32 // reads when the last keepalive PING was sent
	readAt atomic.Int64  // when bytes came last, in Unix nanoseconds; kept for Keepalive.IdleInterval

	output output        // the writer's own
	sent   atomic.Uint64 // bytes written
	done   atomic.Bool   // as ended, for the reader

	mu          sync.Mutex
	streams     map[uint32]*stream // those that are open in a direction
	closed      closedStreams
	stray       int64 // what the peer may still send on streams that this side has reset
	enc         *encoder
	out         []byte      // frames to be written; nil: none
	outBox      *[]byte     // what out goes back to the pool in; nil: it does not
	chunk       *pipe.Chunk // what out was the room of at first; nil: of none
	lent        int         // pieces that are parts of chunks
	frames      [2]int      // in out, and being written
	controls    [2]int      // likewise, of those that a peer can provoke
	wake        bool        // the writer shall write
	writer      sync.Cond   // signalled with wake or ended
	drained     sync.Cond   // signalled when the writer has taken the queue, or ended
	broken      error       // of the write that failed; nothing is sent any more
	slots       sync.Cond   // signalled when the peer may allow this client another stream
	line        line        // of those that wait to send DATA
	window      int64       // what the peer takes on the connection
	peerWindow  int64       // its initial window of streams
	maxCredit   int64       // no stream's credit is larger
	blocked     int         // streams that wait for their own window
	peerFrame   int         // the longest payload that the peer takes
	peerStreams uint32      // how many streams the peer allows
	recv        int64       // what the peer may still send on the connection
	due         uint32      // consumed, and not given back to the peer's window
	lastID      uint32      // the highest stream that the client has opened
	taken       uint32      // the highest one that the server looked at
	dataFrames  uint64      // sent
	opened      uint64      // streams, since the beginning
	scheduling  scheduling
	ended       bool
	why         *httpmsg.ResetError // once ended; nil: in order
	linger      bool                // wait for the peer to close before this side does
	goneAway    bool                // GOAWAY was sent that ends the connection
	keepalive   *time.Timer
	pinging     bool // a keepalive PING has no answer yet
	expecting   bool // the timer is for the answer

	written chan struct{} // closed when the writer has ended
}

// A side is what a server and a client do differently. Methods are called by the reader.
type side interface {
	// target prepares the block for a head that begins.
	target(b *block) error
	// begins is told that a head begins that has not come whole.
	begins(id uint32)
	// late is told that the time of a head is up: of the block, or of a frame of which not
	// more than its header has come.
	late(h frameHeader) error
	// head takes what the block has become.
	head(b *block) error
	// peerGoAway is told of a GOAWAY that came.
	peerGoAway(last uint32, code xhttp2.ErrCode, text string)
	// settled is told that the peer's settings may have changed.
	settled()
	// left is told that a stream is not open any more. It holds mu.
	left(s *stream)
}

// Bytes implements httpmsg.Server and httpmsg.Client.
func (c *conn) Bytes() (received, sent uint64) { return c.in.total.Load(), c.sent.Load() }

func (c *conn) init(nc Conn, o *Options, sd side, server bool) {
	c.nc, c.o, c.side, c.server = nc, o.withDefaults(server), sd, server
	c.in.init(nc)
	c.output.init(nc)
	c.dec = newDecoder(uint32(c.o.TableSize), c.o.MaxFieldBytes)
	c.enc = newEncoder(uint32(c.o.TableSize), c.o.Huffman)
	c.block.init(c)
	c.streams = make(map[uint32]*stream)
	c.writer.L, c.drained.L, c.slots.L = &c.mu, &c.mu, &c.mu
	c.window, c.peerWindow, c.peerFrame = initialWindow, initialWindow, maxFrameSize
	c.peerStreams = 1<<32 - 1
	c.recv = int64(c.o.ConnectionWindow)
	c.written = make(chan struct{})
}

// greet queues what a connection begins with.
func (c *conn) greet() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.server {
		c.out = append(c.queue(), clientPreface...)
	}
	c.out = appendSettings(c.queue(), c.ownSettings())
	if more := c.o.ConnectionWindow - initialWindow; more > 0 {
		c.out = appendShort(c.out, xhttp2.FrameWindowUpdate, 0, more)
	}
	c.flush()
	c.startKeepalive()
}

// ownSettings are in the order in which Envoy sends them.
func (c *conn) ownSettings() []Setting {
	settings := make([]Setting, 0, 5+len(c.o.Settings))
	if !c.server {
		settings = append(settings, Setting{uint16(xhttp2.SettingEnablePush), 0})
	}
	connect := uint32(0)
	if c.o.AllowConnect && c.server {
		connect = 1
	}
	settings = append(settings,
		Setting{uint16(xhttp2.SettingHeaderTableSize), uint32(c.o.TableSize)},
		Setting{uint16(xhttp2.SettingEnableConnectProtocol), connect},
		Setting{uint16(xhttp2.SettingMaxConcurrentStreams), c.o.MaxConcurrentStreams},
		Setting{uint16(xhttp2.SettingInitialWindowSize), c.o.StreamWindow})
	for _, custom := range c.o.Settings {
		if i := slices.IndexFunc(settings, func(s Setting) bool { return s.ID == custom.ID }); i >= 0 {
			settings[i] = custom
		} else {
			settings = append(settings, custom)
		}
	}
	return settings
}

// run serves the connection until it is over, and closes it. ending is called before
// the streams hear of the end, unless that came from outside.
func (c *conn) run(ending func(why *httpmsg.ResetError)) {
	go c.write()
	err := c.read()
	c.fail(err, ending)
	c.finish(err)
	c.in.release()
}

// fail ends the connection for what the reader met.
func (c *conn) fail(err error, ending func(why *httpmsg.ResetError)) {
	why, code, text := c.verdict(err)
	c.mu.Lock()
	ended := c.ended
	c.mu.Unlock()
	if ended {
		return
	}
	ending(why)
	c.end(why, code, text, text != "")
}

// verdict is what becomes of streams and what the peer is told after an error of the
// reader. why is nil when the peer ended the connection in order.
func (c *conn) verdict(err error) (why *httpmsg.ResetError, code xhttp2.ErrCode, text string) {
	var wrong *connError
	if errors.As(err, &wrong) {
		c.o.Stats.count(wrong.counts)
		if wrong.code != xhttp2.ErrCodeEnhanceYourCalm && c.o.Violated != nil {
			c.o.Violated()
		}
		return wrong.why(), wrong.code, wrong.text
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if errors.Is(err, os.ErrDeadlineExceeded) && c.broken != nil {
		err = c.broken
	}
	if err == io.EOF && len(c.streams) == 0 {
		return nil, xhttp2.ErrCodeNo, ""
	}
	return &httpmsg.ResetError{Reason: httpmsg.ConnectionTermination, Err: err}, xhttp2.ErrCodeNo, ""
}

// end ends the connection and its streams: what is queued is still written, behind it
// GOAWAY. Only the first call counts. why is nil when nothing is lost.
func (c *conn) end(why *httpmsg.ResetError, code xhttp2.ErrCode, text string, linger bool) {
	c.mu.Lock()
	if c.ended {
		c.mu.Unlock()
		return
	}
	c.ended, c.why, c.linger = true, why, linger
	c.done.Store(true)
	if !c.goneAway || code != xhttp2.ErrCodeNo {
		c.goAway(c.peerLast(), code, text)
	}
	if c.keepalive != nil {
		c.keepalive.Stop()
	}
	why = c.endedWhy()
	var told []*stream
	for _, s := range c.streams {
		if s.fail(why) {
			told = append(told, s)
		}
	}
	c.writer.Signal()
	c.drained.Broadcast()
	c.slots.Broadcast()
	c.mu.Unlock()
	for _, s := range told {
		s.tell(why)
	}
}

// endedWhy is what streams are told once the connection has ended. It holds mu.
func (c *conn) endedWhy() *httpmsg.ResetError {
	if c.why == nil {
		return &httpmsg.ResetError{Reason: httpmsg.ConnectionTermination}
	}
	return c.why
}

// peerLast is the last stream of the peer that was looked at.
func (c *conn) peerLast() uint32 {
	if !c.server {
		return 0 // nothing was pushed
	}
	return c.taken
}

// goAway queues a GOAWAY. It holds mu.
func (c *conn) goAway(last uint32, code xhttp2.ErrCode, text string) {
	c.out = appendGoAway(c.queue(), last, code, text)
	c.o.Stats.count(statGoAway)
	c.flush()
}

// interrupt has the reader look whether the connection has ended.
func (c *conn) interrupt() { _ = c.nc.SetReadDeadline(time.Unix(1, 0)) }

// deadline sets the one of reads, unless the connection has ended and somebody set it for
// that; false: it has.
func (c *conn) deadline(t time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended || c.broken != nil {
		return false
	}
	_ = c.nc.SetReadDeadline(t)
	return true
}

// finish writes what is queued and closes the connection.
func (c *conn) finish(err error) {
	var wrong *connError
	ended := err == io.EOF || err == io.ErrUnexpectedEOF
	if !ended && !errors.As(err, &wrong) && !errors.Is(err, os.ErrDeadlineExceeded) {
		// The transport is gone: a write may wait in vain.
		_ = c.nc.Close()
		<-c.written
		return
	}
	wait := c.o.DelayedClose
	_ = c.nc.SetWriteDeadline(time.Now().Add(max(wait, 100*time.Millisecond)))
	<-c.written
	if c.linger && wait > 0 && !ended && c.lingered(wait) && c.o.DelayedCloseStruck != nil {
		c.o.DelayedCloseStruck()
	}
	_ = c.nc.Close()
}

// lingered gives the peer time to read what was written, and to close its side: closing
// at once would reset the connection if it is still sending, and it would never read why.
// It reports whether the peer had not done so by then.
func (c *conn) lingered(wait time.Duration) (late bool) {
	c.mu.Lock()
	err := c.broken
	c.mu.Unlock()
	if err == nil {
		err = c.nc.CloseWrite()
	}
	if err == nil {
		_ = c.nc.SetReadDeadline(time.Now().Add(wait))
		err = c.in.discard()
	}
	return errors.Is(err, os.ErrDeadlineExceeded)
}
