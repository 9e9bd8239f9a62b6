package main

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
)

// httpPath is what is asked for: a body of so many bytes.
func httpPath(size int) string { return "/" + strconv.Itoa(size) }

// httpRequest is a small request such as tools send.
func httpRequest(size int) []byte {
	return fmt.Appendf(nil, "GET %s HTTP/1.1\r\nhost: bench.example\r\nuser-agent: bench/1\r\naccept: */*\r\n\r\n", httpPath(size))
}

var headEnd = []byte("\r\n\r\n")

// A reply reads the responses of one connection, one after the other.
type reply struct {
	head []byte // of the response under way, until it is whole
	body int    // bytes of the body still to come
	in   bool   // a body is under way
}

// take reads p and returns how many responses ended in it.
func (r *reply) take(p []byte) (ended int, err error) {
	for len(p) > 0 {
		if r.in {
			n := min(r.body, len(p))
			p, r.body = p[n:], r.body-n
		} else if p, err = r.begin(p); err != nil {
			return ended, err
		}
		if r.in && r.body == 0 {
			r.in = false
			ended++
		}
	}
	return ended, nil
}

// begin reads of a head and returns what follows it.
func (r *reply) begin(p []byte) (rest []byte, err error) {
	have := len(r.head)
	r.head = append(r.head, p...)
	end := bytes.Index(r.head[max(0, have-len(headEnd)):], headEnd)
	if end < 0 {
		return nil, nil
	}
	end += max(0, have-len(headEnd)) + len(headEnd)
	if r.body, err = bodyLength(r.head[:end]); err != nil {
		return nil, err
	}
	r.in, r.head = true, r.head[:0]
	return p[end-have:], nil
}

// bodyLength is what a head with status 200 says of its body.
func bodyLength(head []byte) (int, error) {
	if !bytes.HasPrefix(head, []byte("HTTP/1.1 200")) {
		line, _, _ := bytes.Cut(head, []byte("\r\n"))
		return 0, fmt.Errorf("answered with %q", line)
	}
	for line := range bytes.SplitSeq(head, []byte("\r\n")) {
		name, value, _ := bytes.Cut(line, []byte(":"))
		if bytes.EqualFold(name, []byte("content-length")) {
			return strconv.Atoi(string(bytes.TrimSpace(value)))
		}
	}
	return 0, errors.New("answered without content-length")
}

// An origin answers requests of HTTP/1.1 without a body by their paths.
type origin struct {
	held   map[int][]byte // of requests that have not come whole, by descriptor
	unsent map[int][]byte // what a socket has not taken
	ready  map[string][]byte
}

func newOrigin() *origin {
	return &origin{held: map[int][]byte{}, unsent: map[int][]byte{}, ready: map[string][]byte{}}
}

// answers returns what to send for the requests in p; nil where none is whole.
func (o *origin) answers(fd int, p []byte) (out []byte, err error) {
	if held := o.held[fd]; held != nil {
		p = append(held, p...)
		delete(o.held, fd)
	}
	for {
		end := bytes.Index(p, headEnd)
		if end < 0 {
			break
		}
		answer, err := o.answer(p[:end])
		if err != nil {
			return nil, err
		}
		p = p[end+len(headEnd):]
		if out == nil && len(p) == 0 {
			return answer, nil // which nobody changes
		}
		out = append(out, answer...)
	}
	if len(p) > 0 {
		o.held[fd] = bytes.Clone(p)
	}
	return out, nil
}

// answer is the answer to a request, made once for each path.
func (o *origin) answer(head []byte) ([]byte, error) {
	parts := bytes.SplitN(head, []byte(" "), 3)
	if len(parts) < 3 {
		return nil, fmt.Errorf("no request: %q", head)
	}
	if a := o.ready[string(parts[1])]; a != nil {
		return a, nil
	}
	size, err := strconv.Atoi(string(bytes.TrimPrefix(parts[1], []byte("/"))))
	if err != nil {
		return nil, fmt.Errorf("no such path: %q", parts[1])
	}
	a := fmt.Appendf(nil, "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: %d\r\n\r\n", size)
	a = append(a, bytes.Repeat([]byte("x"), size)...)
	o.ready[string(parts[1])] = a
	return a, nil
}

// forget drops what was kept of a connection that is over.
func (o *origin) forget(fd int) {
	delete(o.held, fd)
	delete(o.unsent, fd)
}
