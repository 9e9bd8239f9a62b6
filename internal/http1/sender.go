package http1

import (
	"errors"
	"strconv"

	"github.com/ginnel/ginnel/httpmsg"
)

// A sender writes the body of the message whose head was written last. The FIN that ends a
// tunnel's direction is for who has noted that it is complete.
type sender struct {
	out      *output
	z        serialiser
	trailers bool // are sent
	begun    bool
	kind     framing
	left     int64
	done     bool
	// hold leaves a message without a body to be sent by who waits for the answer.
	hold bool
}

var (
	errOver     = errors.New("http1: the message is complete")
	errEarly    = errors.New("http1: no head was sent")
	errTooLong  = errors.New("http1: more bytes than content-length says")
	errTooShort = errors.New("http1: fewer bytes than content-length says")
)

// reset prepares for the next message.
func (m *sender) reset() {
	m.begun, m.done, m.kind, m.left = false, false, noBody, 0
}

// begin is called when the head was written.
func (m *sender) begin(f framed, end bool) error {
	m.begun, m.kind, m.left = true, f.kind, f.length
	switch {
	case !end:
		return nil
	case m.hold && (f.kind == noBody || f.length == 0):
		m.done = true
		return nil
	}
	return m.data(nil, true)
}

// data sends a piece.
func (m *sender) data(p []byte, end bool) error {
	switch {
	case !m.begun:
		return errEarly
	case m.done:
		return errOver
	}
	if err := m.piece(p, end); err != nil {
		return err
	}
	if !end {
		return nil
	}
	err := m.out.flush()
	m.done = err == nil
	return err
}

func (m *sender) piece(p []byte, end bool) error {
	switch m.kind {
	case noBody:
		return nil
	case byChunks:
		return m.chunk(p, end)
	case byLength:
		m.left -= int64(len(p))
		switch {
		case m.left < 0:
			return errTooLong
		case end && m.left > 0:
			return errTooShort
		}
	}
	if len(p) == 0 {
		return nil
	}
	return m.out.write(p, "")
}

func (m *sender) chunk(p []byte, end bool) error {
	if len(p) > 0 {
		b := strconv.AppendUint(m.out.room(), uint64(len(p)), 16)
		m.out.keep(append(b, "\r\n"...))
	}
	tail := ""
	switch {
	case len(p) > 0 && end:
		tail = "\r\n0\r\n\r\n"
	case len(p) > 0:
		tail = "\r\n"
	case end:
		tail = "0\r\n\r\n"
	}
	return m.out.write(p, tail)
}

// trailer ends the message with trailers, where they can be sent.
func (m *sender) trailer(h httpmsg.Header) error {
	if m.kind != byChunks || !m.trailers || !m.begun || m.done {
		return m.data(nil, true)
	}
	b := append(m.out.room(), "0\r\n"...)
	from := len(b)
	lines := 1
	for i := range h {
		if f := &h[i]; !httpmsg.ForbiddenTrailer(f.Name) {
			b = m.z.field(b, f)
			lines++
		}
	}
	b = append(b, "\r\n"...)
	if !intact(b[from:], lines) {
		b = append(b[:from], "\r\n"...)
	}
	m.out.keep(b)
	err := m.out.flush()
	m.done = err == nil
	return err
}
