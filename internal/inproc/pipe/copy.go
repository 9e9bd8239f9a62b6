package pipe

import "io"

// WriteTo hands what is read from c to w until the stream ends, without a copy
// in between: chunks change owner where w is a *Conn too, and are written from
// where they lie else. It holds no buffer while it waits for bytes. The end of
// the stream is not passed on.
func (c *Conn) WriteTo(w io.Writer) (n int64, err error) {
	dst, direct := w.(*Conn)
	for {
		k, err := c.ReadChunk()
		if err == io.EOF {
			return n, nil
		}
		if err != nil {
			return n, err
		}
		m := k.Len()
		if direct {
			if err = dst.WriteChunk(k); err != nil {
				m = 0
			}
		} else {
			m, err = writeFree(w, k)
		}
		n += int64(m)
		if err != nil {
			return n, err
		}
	}
}

func writeFree(w io.Writer, k *Chunk) (int, error) {
	defer k.Free()
	n, err := w.Write(k.Bytes())
	if err == nil && n < k.Len() {
		err = io.ErrShortWrite
	}
	return n, err
}

// ReadFrom reads r into chunks and queues them until r ends, which is not passed
// on. It waits for room before it reads, so that back-pressure reaches r and a
// stalled copy holds no buffer; while r itself has nothing it holds one chunk, a
// small one unless r has just delivered a good part of a large one.
func (c *Conn) ReadFrom(r io.Reader) (n int64, err error) {
	if src, ok := r.(*Conn); ok {
		return src.WriteTo(c)
	}
	size := SmallChunkBytes
	limited, _ := r.(*io.LimitedReader)
	for {
		if limited != nil && limited.N <= 0 {
			return n, nil // a peer that has got all may be gone by now
		}
		if err := c.out.waitRoom(); err != nil {
			return n, err
		}
		m, full, err := c.readChunkFrom(r, size)
		n += int64(m)
		if err == io.EOF {
			return n, nil
		}
		if err != nil {
			return n, err
		}
		switch {
		case full:
			size = LargeChunkBytes
		case m < LargeChunkBytes/4:
			size = SmallChunkBytes
		}
	}
}

// readChunkFrom does one read of r into a chunk, which it queues.
func (c *Conn) readChunkFrom(r io.Reader, size int) (n int, full bool, err error) {
	k := NewChunk(c.out.chunkSize(size))
	n, err = r.Read(k.Room())
	k.Extend(n)
	full = len(k.Room()) == 0
	if werr := c.WriteChunk(k); werr != nil {
		return 0, false, werr
	}
	return n, full, err
}

// waitRoom waits until a write would not.
func (h *half) waitRoom() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.awaitRoom()
}
