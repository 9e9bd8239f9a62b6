package http1

import "sync"

// Sizes of buffers. A connection has one of each direction while bytes are on their way.
const (
	smallBytes = 16 << 10
	largeBytes = 128 << 10 // for streams: fewer system calls
)

// ReadAheadBytes is the most of a body that is read ahead where nothing limits it.
const ReadAheadBytes = largeBytes

// The pools are the process's: buffers are lent for moments.
var (
	smallBuffers = sync.Pool{New: func() any { return new([smallBytes]byte) }}
	largeBuffers = sync.Pool{New: func() any { return new([largeBytes]byte) }}
)

func takeBuffer(large bool) []byte {
	if large {
		return largeBuffers.Get().(*[largeBytes]byte)[:]
	}
	return smallBuffers.Get().(*[smallBytes]byte)[:]
}

// giveBuffer takes back what takeBuffer lent. Others, for heads larger than a buffer,
// are the garbage collector's.
func giveBuffer(b []byte) {
	switch b = b[:cap(b)]; len(b) {
	case smallBytes:
		smallBuffers.Put((*[smallBytes]byte)(b))
	case largeBytes:
		largeBuffers.Put((*[largeBytes]byte)(b))
	}
}
