package stats

import "io"

// An output gathers what a renderer appends and passes it on in pieces. The
// first error ends the writing; the renderer goes on for nothing.
type output struct {
	w   io.Writer
	buf []byte
	err error
}

const outputPiece = 64 << 10 // bytes

func newOutput(w io.Writer) *output {
	return &output{w: w, buf: make([]byte, 0, outputPiece+4<<10)}
}

func (o *output) string(ss ...string) {
	for _, s := range ss {
		o.buf = append(o.buf, s...)
	}
}

// room passes a full buffer on; renderers call it between stats.
func (o *output) room() {
	if len(o.buf) >= outputPiece {
		o.flush()
	}
}

func (o *output) flush() error {
	if o.err == nil && len(o.buf) > 0 {
		_, o.err = o.w.Write(o.buf)
	}
	o.buf = o.buf[:0]
	return o.err
}
