package pipe

// A Sleeper is a reader that waits without a goroutine.
type Sleeper interface {
	// Wake is called once for each time that TakeChunk has said to sleep: when it
	// would not say so any more. The call comes from the goroutine that made it so,
	// perhaps out of one of the Conn's own methods or of a timer, without locks of
	// the connection; it must not block.
	Wake()
}

// TakeChunk is ReadChunk for a reader without a goroutine: where that would wait it
// returns nil and no error, and s sleeps until it is woken. A chunk has at most
// maxBytes (more than 0) bytes. A Conn has one sleeper, and no other reader beside it.
func (c *Conn) TakeChunk(maxBytes int, s Sleeper) (*Chunk, error) {
	h := c.in
	h.mu.Lock()
	ready, err := h.readable(0)
	if !ready {
		if err == nil {
			h.sleeper = s
		}
		h.mu.Unlock()
		return nil, err
	}
	k := h.queue.head
	if k.Len() <= maxBytes {
		h.queue.pop()
	} else {
		k = k.split(maxBytes)
	}
	h.drained(k.Len())
	return k, nil
}

// split moves a first part of k, at most maxBytes, to a small chunk of its own.
func (k *Chunk) split(maxBytes int) *Chunk {
	first := NewChunk(SmallChunkBytes)
	k.Consume(first.append(k.Bytes()[:min(maxBytes, SmallChunkBytes)]))
	return first
}

// OfferChunk is WriteChunk for a writer that neither waits nor wakes: where there is no
// room it returns false, and where there is an error too; then k is still the
// caller's. If a reader slept, the caller has to see that its Wake is called, or to do
// what that would have done. There must be no other writer beside it.
func (c *Conn) OfferChunk(k *Chunk) (taken bool, slept Sleeper, err error) {
	if k.Len() == 0 {
		k.Free()
		return true, nil, nil
	}
	h := c.out
	h.mu.Lock()
	err = h.writeErr()
	if err != nil || h.bytes >= h.limit {
		h.mu.Unlock()
		return false, nil, err
	}
	queued := h.enqueue(k)
	slept = h.rouse()
	h.mu.Unlock()
	if !queued {
		k.Free()
	}
	if slept == nil {
		h.cond.Broadcast()
	}
	return true, slept, nil
}

// rouse takes the sleeper away, with mu held; who does passes it to tell, or on.
func (h *half) rouse() Sleeper {
	s := h.sleeper
	h.sleeper = nil
	return s
}

// tell wakes all who wait, and s, without mu.
func (h *half) tell(s Sleeper) {
	h.cond.Broadcast()
	if s != nil {
		s.Wake()
	}
}

// tellLocked is tell with mu held, which it lets go for a sleeper.
func (h *half) tellLocked() {
	h.cond.Broadcast()
	if s := h.rouse(); s != nil {
		h.mu.Unlock()
		s.Wake()
		h.mu.Lock()
	}
}
