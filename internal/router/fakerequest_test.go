package router

import (
	"io"
	"sync"

	"github.com/ginnel/ginnel/httpmsg"
)

func get(path string, header ...string) *httpmsg.Request {
	return &httpmsg.Request{Method: "GET", Path: path, Header: head(0, header...).Header}
}

// post is a request with a body.
func post(path string, b *clientBody) *httpmsg.Request {
	return &httpmsg.Request{Method: "POST", Path: path, Body: b}
}

// A clientBody is the body of a request that comes piece by piece.
type clientBody struct {
	pieces  chan string // closed: the end
	trailer httpmsg.Header
	gone    chan struct{}
	once    sync.Once
	why     *httpmsg.ResetError
}

// newBody returns a body with some pieces; whole: the end is there, too.
func newBody(whole bool, pieces ...string) *clientBody {
	b := &clientBody{pieces: make(chan string, 100), gone: make(chan struct{})}
	for _, p := range pieces {
		b.pieces <- p
	}
	if whole {
		close(b.pieces)
	}
	return b
}

func (b *clientBody) stop(why *httpmsg.ResetError) {
	b.once.Do(func() {
		b.why = why
		close(b.gone)
	})
}

func (b *clientBody) Next() ([]byte, error) {
	select {
	case p, ok := <-b.pieces:
		if !ok {
			return nil, io.EOF
		}
		return []byte(p), nil
	default:
	}
	select {
	case p, ok := <-b.pieces:
		if !ok {
			return nil, io.EOF
		}
		return []byte(p), nil
	case <-b.gone:
		return nil, b.why
	}
}

func (b *clientBody) Ready() bool             { return len(b.pieces) > 0 }
func (b *clientBody) Trailer() httpmsg.Header { return b.trailer }
