// Package pipe is a full-duplex byte stream between two users in one process
// that keeps apart the three ways a connection ends and loses no byte in the
// first two: half close, full close and reset.
//
// A pair has one queue of pooled chunks per direction. Writers copy into it
// ([Conn.Write]) or give whole chunks away ([Conn.WriteChunk]); readers copy
// out of it or take chunks over. While nothing is queued a pair holds no
// buffer, and it never holds a goroutine.
//
// What one end sees when the other one ends:
//
//	                peer reads              peer writes   peer's PeerClosed
//	CloseWrite      queued bytes, io.EOF    go on         false
//	Close           queued bytes, io.EOF    EPIPE         true
//	Reset           queued bytes, ErrReset  ErrReset      true
//
// Close and Reset discard what the end that calls them has not read.
//
// Flow control is per direction: a write goes on while fewer bytes than the
// limit are queued, so the queue ends up over it by less than 16 KiB after a
// Write (as in Envoy) and by less than one chunk (64 KiB) after a WriteChunk.
// Blocked writers go on when the reader has drained the queue to half the limit.
package pipe

import (
	"fmt"
	"net"
	"syscall"
)

const defaultLimit = 1 << 20 // Envoy: buffer_size_kb, 1024 by default

// ErrReset is returned by reads, after the bytes that came before, and by
// writes, at once, when the peer called Reset. It is a syscall.ECONNRESET.
var ErrReset = fmt.Errorf("pipe: %w", syscall.ECONNRESET)

var (
	errPeerClosed = fmt.Errorf("pipe: peer is closed: %w", syscall.EPIPE)
	errShutdown   = fmt.Errorf("pipe: write after CloseWrite: %w", syscall.EPIPE)
)

// Options says how the two ends of a pair are called and how much they queue.
type Options struct {
	// LimitBytes is how many bytes either direction queues before writers
	// wait. 0 or less: 1 MiB.
	LimitBytes int

	// ToServerLimitBytes and ToClientLimitBytes replace LimitBytes in one
	// direction. 0 or less: LimitBytes.
	ToServerLimitBytes int
	ToClientLimitBytes int

	// ClientAddr is the client's local and the server's remote address,
	// ServerAddr the other way round. nil: an address named "pipe".
	ClientAddr net.Addr
	ServerAddr net.Addr
}

// New returns the two ends of a new connection. Both have to be closed (or
// reset); what was queued for an end goes back to its pool no sooner.
func New(o Options) (client, server *Conn) {
	limit := positive(o.LimitBytes, defaultLimit)
	p := new(pair)
	p.toServer.init(positive(o.ToServerLimitBytes, limit))
	p.toClient.init(positive(o.ToClientLimitBytes, limit))

	ca, sa := o.ClientAddr, o.ServerAddr
	if ca == nil {
		ca = addr{}
	}
	if sa == nil {
		sa = addr{}
	}
	p.client = Conn{pair: p, in: &p.toClient, out: &p.toServer, local: ca}
	p.server = Conn{pair: p, in: &p.toServer, out: &p.toClient, local: sa}
	return &p.client, &p.server
}

func positive(n, or int) int {
	if n > 0 {
		return n
	}
	return or
}

type addr struct{}

func (addr) Network() string { return "pipe" }
func (addr) String() string  { return "pipe" }

// pair is all the memory of a connection: one allocation.
type pair struct {
	client, server     Conn
	toServer, toClient half
	why                error // of CloseFor; guarded by both halves; nil: none
}

// lock takes both directions, always in the same order.
func (p *pair) lock() {
	p.toServer.mu.Lock()
	p.toClient.mu.Lock()
}

func (p *pair) unlock() {
	p.toClient.mu.Unlock()
	p.toServer.mu.Unlock()
}
