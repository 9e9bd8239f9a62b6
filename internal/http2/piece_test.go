package http2

import (
	"fmt"
	"testing"
)

// TestPiecesOfStalledStream: whatever came before its reader stalled, and in frames of any
// size, a stream that then takes a whole window holds little more than that.
func TestPiecesOfStalledStream(t *testing.T) {
	const window = 64 << 10
	for _, frame := range []int{100, 1000, 5000, 16 << 10} {
		for first := 1; first <= largePiece; first += 509 {
			t.Run(fmt.Sprint(frame, "/", first), func(t *testing.T) {
				var q pieces
				left := window
				take := func(n int) {
					for n > 0 {
						k := min(frame, n)
						left -= k
						q.append(make([]byte, k), int64(left))
						n -= k
					}
				}
				take(first)
				held := len(q.pop().buf) // by the reader, who has stalled
				take(left)
				for q.first != nil {
					held += len(q.pop().buf)
				}
				if most := window + middlePiece + smallPiece; held > most {
					t.Errorf("%d bytes are held in %d", window, held)
				}
			})
		}
	}
}
