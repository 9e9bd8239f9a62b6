package tlssocket

// deepen makes room on the goroutine's stack for what a handshake takes: grown at once
// while there is little on it, a stack is cheaper than in steps that copy all the frames
// there are by then. Nobody needs the result.
//
//go:noinline
func deepen(at int) byte {
	var room [stackBytes]byte
	return room[at%len(room)]
}

// stackBytes are a bit more than half of what the goroutine then has.
const stackBytes = 9 << 10
