// Package pipetest tells what users of a pipe copy.
package pipetest

import (
	"sync"
	"unsafe"

	"github.com/ginnel/ginnel/internal/inproc/pipe"
)

// A Spy is an end of a pipe that knows where what was read lies, and what was copied to be
// written.
type Spy struct {
	*pipe.Conn
	mu      sync.Mutex
	read    [][]byte
	written [][]byte
}

// ReadChunk is that of pipe.Conn.
func (s *Spy) ReadChunk() (*pipe.Chunk, error) {
	k, err := s.Conn.ReadChunk()
	if err == nil {
		s.mu.Lock()
		s.read = append(s.read, k.Bytes())
		s.mu.Unlock()
	}
	return k, err
}

// Write is that of pipe.Conn, which copies.
func (s *Spy) Write(p []byte) (int, error) {
	s.mu.Lock()
	s.written = append(s.written, p)
	s.mu.Unlock()
	return s.Conn.Write(p)
}

// Copied returns how many bytes were given to Write that do not lie in one of the parts
// given.
func (s *Spy) Copied(but ...[]byte) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.written {
		if !within(p, but) {
			n += len(p)
		}
	}
	return n
}

// Lies reports whether p lies where it was sent.
func (s *Spy) Lies(p []byte) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return within(p, s.read)
}

func within(p []byte, parts [][]byte) bool {
	at := address(p)
	for _, b := range parts {
		if from := address(b); at >= from && at+uintptr(len(p)) <= from+uintptr(len(b)) {
			return true
		}
	}
	return false
}

func address(p []byte) uintptr { return uintptr(unsafe.Pointer(unsafe.SliceData(p))) }
