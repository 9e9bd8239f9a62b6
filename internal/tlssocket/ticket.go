package tlssocket

import "bytes"

// hold keeps the ticket that a server is about to send, in TLS 1.3, until something else is
// written (as BoringSSL does): a client that only sends, and closes, would leave it unread, and
// its system would throw away with a reset what the client has sent.
func (w *wire) hold() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.holding = true
}

// holdNoMore ends what hold began; what is held already stays so.
func (w *wire) holdNoMore() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.holding = false
}

// writeHolding keeps the last record, which is the ticket: alone, or behind the others of the
// server's first flight where the client is asked for no certificate. The caller holds
// mu.
func (w *wire) writeHolding(p []byte) (n int, err error) {
	w.holding = false
	at := lastRecord(p)
	if len(p)-at <= finishedBytes {
		return w.writeOut(p)
	}
	if at > 0 {
		if n, err = w.writeOut(p[:at]); err != nil {
			return n, err
		}
	}
	w.held = bytes.Clone(p[at:])
	return len(p), nil
}

// writeBehindHeld writes what is held, and p with it. The caller holds mu.
func (w *wire) writeBehindHeld(p []byte) (int, error) {
	before := len(w.held)
	p, w.held = append(w.held, p...), nil
	n, err := w.writeOut(p)
	return max(n-before, 0), err
}

// finishedBytes are the most that a record takes which is no ticket, and without which a
// handshake would not go on: a Finished, with a hash of 48 bytes.
const finishedBytes = recordHeader + 4 + 48 + 1 + 16

const recordHeader = 5 // type, version, length

// lastRecord is where the last record of p begins; len(p): p does not end with one.
func lastRecord(p []byte) int {
	for at := 0; at+recordHeader <= len(p); {
		next := at + recordHeader + int(p[at+3])<<8 + int(p[at+4])
		if next == len(p) {
			return at
		}
		at = next
	}
	return len(p)
}
