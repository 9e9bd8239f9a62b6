package health

import (
	"context"
	"errors"
	"io"
	"sync"

	"github.com/ginnel/ginnel/httpmsg"
	"github.com/ginnel/ginnel/internal/http1"
	"github.com/ginnel/ginnel/internal/http2"
)

// An httpAsker checks by requests.
type httpAsker struct {
	host   *Host
	exam   exam
	client httpmsg.Client // kept between checks; nil: none
	open   sync.WaitGroup // connections that are not closed yet
}

// An exam is what is asked over HTTP, and what is wanted to hear.
type exam interface {
	protocol() httpmsg.Protocol
	request() (r *httpmsg.Request, body []byte)
	// most is how many bytes of a response's body are looked at.
	most() int
	judge(answer) verdict
}

// An answer is a response as a whole, with the beginning of its body.
type answer struct {
	status          int
	header, trailer httpmsg.Header
	body            []byte
}

var errNoRoom = errors.New("the connection takes no request")

func (a *httpAsker) ask(ctx context.Context) verdict {
	x, err := a.begin(ctx)
	if err != nil {
		a.drop()
		return verdict{network: true}
	}
	done := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		x.Reset(&httpmsg.ResetError{Reason: httpmsg.LocalReset})
		close(done)
	})
	got, err := a.talk(x)
	if !stop() {
		<-done
		err = ctx.Err()
	}
	x.Release()
	if err != nil || a.host.checker.opts.Plan.OneConnection {
		a.drop()
	}
	if err != nil {
		return verdict{network: true}
	}
	return a.exam.judge(got)
}

// begin begins an exchange, on the connection there is or a new one.
func (a *httpAsker) begin(ctx context.Context) (httpmsg.Exchange, error) {
	if a.client != nil {
		if x := a.client.Open(); x != nil {
			return x, nil
		}
		a.drop()
	}
	conn, err := a.host.target.Dial(ctx)
	if err != nil {
		return nil, err
	}
	a.open.Add(1)
	if a.exam.protocol() == httpmsg.HTTP2 {
		a.client = http2.NewClient(conn, a.host.checker.opts.HTTP2, &owner{a: a})
	} else {
		a.client = http1.NewClient(conn, a.host.checker.opts.HTTP1, &owner{a: a})
	}
	if x := a.client.Open(); x != nil {
		return x, nil
	}
	return nil, errNoRoom
}

// drop closes the connection.
func (a *httpAsker) drop() {
	if a.client != nil {
		a.client.Close(&httpmsg.ResetError{Reason: httpmsg.LocalReset})
		a.client = nil
	}
}

func (a *httpAsker) close() {
	a.drop()
	a.open.Wait()
}

func (a *httpAsker) talk(x httpmsg.Exchange) (answer, error) {
	r, body := a.exam.request()
	if err := x.WriteRequest(r, body == nil); err != nil {
		return answer{}, err
	}
	if body != nil {
		if err := x.WriteData(body, true); err != nil {
			return answer{}, err
		}
	}
	if err := x.Flush(); err != nil {
		return answer{}, err
	}
	for {
		resp, err := x.ReadResponse()
		if err != nil {
			return answer{}, err
		}
		if !resp.Informational() {
			return a.read(resp)
		}
	}
}

// read takes a response whole, so that the connection can be used again.
func (a *httpAsker) read(r *httpmsg.Response) (answer, error) {
	out, most := answer{status: r.Status, header: r.Header.Clone()}, a.exam.most()
	if r.Body == nil {
		return out, nil
	}
	for {
		p, err := r.Body.Next()
		out.body = append(out.body, p[:min(len(p), max(most-len(out.body), 0))]...)
		switch err {
		case nil:
		case io.EOF:
			out.trailer = r.Body.Trailer().Clone()
			return out, nil
		default:
			return out, err
		}
	}
}

// An owner waits for the end of a connection.
type owner struct{ a *httpAsker }

// Changed implements httpmsg.ClientOwner.
func (*owner) Changed() {}

// Draining implements httpmsg.ClientOwner: the next Open finds out.
func (*owner) Draining() {}

// Closed implements httpmsg.ClientOwner.
func (o *owner) Closed(*httpmsg.ResetError) { o.a.open.Done() }
