package http2

import (
	"slices"
	"strings"

	xhttp2 "golang.org/x/net/http2"

	"github.com/ginnel/ginnel/httpmsg"
	"github.com/ginnel/ginnel/internal/httptext"
)

// A blockKind is what a header block is for.
type blockKind uint8

const (
	discarded blockKind = iota // it is decoded, since the table must stay right
	requestHead
	responseHead
	trailers
)

// A block is a header block on its way in: HEADERS and its CONTINUATIONs. The decoder
// fills it in; limits hold while it does.
type block struct {
	c      *conn
	id     uint32 // of the stream
	kind   blockKind
	end    bool // END_STREAM
	open   bool // more of it is to come
	stream *stream
	err    error // for which it is discarded; nil: it is ignored

	lines  *httpmsg.Header // where fields go
	own    httpmsg.Header  // lines of messages that another goroutine knows already
	length int             // of the block as it came
	wire   int             // with the headers of its frames
	count  int             // of fields
	size   int             // of their names and values
	wrong  problem         // the first one

	method, scheme, authority, path, protocol, status, host string

	seen      class // pseudo headers: a bit for each kind
	regular   bool  // a regular field has come: no pseudo headers any more
	content   int64 // content-length; <0: none
	cookies   int
	underline bool // a name has an underscore
}

// A problem is why a message is not accepted.
type problem struct {
	text    string // "": there is none
	details string
	limit   bool // a limit is exceeded; the message is not wrong
	status  int  // that would be right in an answer
}

func (b *block) init(c *conn) { b.c = c }

// begin readies the block for another one.
func (b *block) begin(id uint32, end bool) {
	*b = block{c: b.c, own: b.own[:0], id: id, end: end, content: -1}
}

// fill sets what the block is for.
func (b *block) fill(kind blockKind, s *stream, lines *httpmsg.Header) {
	b.kind, b.stream, b.lines = kind, s, lines
}

// weigh adds what has come of the block.
func (b *block) weigh(w *httpmsg.Wire) {
	w.Received += uint64(b.wire)
	w.HeaderReceived += uint64(b.wire)
	w.PlainReceived += uint64(b.size)
}

// spareFields is room for what filters add to a header.
const spareFields = 16

// take copies the block's own lines.
func (b *block) take(to *httpmsg.Header) {
	*to = append(slices.Grow((*to)[:0], len(b.own)+spareFields), b.own...)
}

// discard has the block decoded only, and err returned behind it.
func (b *block) discard(err error) { b.kind, b.stream, b.err = discarded, nil, err }

// tooLong bounds what may come for one block: more than could be accepted, with room for
// what is read after a limit was exceeded.
func (b *block) tooLong() bool { return b.length > 2*b.c.o.MaxHeaderBytes+b.c.o.MaxFieldBytes }

// field implements sink.
func (b *block) field(f *field) {
	if b.kind == discarded || b.wrong.limit {
		return
	}
	if f.class == 0 {
		f.class = classify(f.name, f.value)
	}
	b.count++
	b.size += len(f.name) + len(f.value)
	switch {
	case b.size > b.c.o.MaxHeaderBytes:
		b.exceed("header list too large", detailSize, statListTooLarge)
	case b.count > b.c.o.MaxHeaders:
		b.exceed("too many headers", detailCount, statHeaderOverflow)
	case f.class.pseudo():
		b.pseudo(f)
	default:
		b.line(f)
	}
}

func (b *block) exceed(text, details string, counts statistic) {
	b.wrong = problem{text: text, details: details, limit: true, status: 431}
	b.c.o.Stats.count(counts)
}

// bad notes what is wrong with a message.
func (b *block) bad(details, text string) {
	if b.wrong.text == "" {
		b.wrong = problem{text: text, details: details, status: 400}
	}
}

func (b *block) pseudo(f *field) {
	kind := f.class.kind()
	bit := class(1) << kind
	switch {
	case b.regular:
		b.bad(detailRule, "pseudo header behind other ones")
	case b.seen&bit != 0:
		b.bad(detailRule, "pseudo header twice")
	case f.class&badValue != 0:
		b.bad(detailField, "bad value of "+f.name)
	}
	b.seen |= bit
	to := b.pseudoPlace(kind)
	if to == nil {
		b.bad(detailRule, "pseudo header that does not belong here")
		return
	}
	*to = f.value
}

// pseudoPlace is where a pseudo header goes; nil: it must not be there.
func (b *block) pseudoPlace(kind class) *string {
	if b.kind == responseHead && kind == pseudoStatus {
		return &b.status
	}
	if b.kind != requestHead {
		return nil
	}
	switch kind {
	case pseudoMethod:
		return &b.method
	case pseudoScheme:
		return &b.scheme
	case pseudoAuthority:
		return &b.authority
	case pseudoPath:
		return &b.path
	case pseudoProtocol:
		return &b.protocol
	}
	return nil
}

// line takes a regular field.
func (b *block) line(f *field) {
	b.regular = true
	kind := f.class.kind()
	switch {
	case f.class&(badName|badValue) != 0:
		b.bad(detailField, "bad header")
	case f.class&obsText != 0 && b.c.o.DisallowObsText:
		b.bad(detailField, "header value outside of ASCII")
	case kind == hopByHop, kind == te && f.value != "trailers":
		b.bad(detailRule, "header of a connection: "+f.name)
	case f.class&underscore != 0 && b.underscored():
	case b.kind == trailers:
		if !httpmsg.ForbiddenTrailer(f.name) {
			b.add(f)
		}
	case kind == plain:
		b.add(f)
	default:
		b.known(f, kind)
	}
}

func (b *block) add(f *field) { b.lines.Add(f.name, f.value) }

// known takes a regular field that means something.
func (b *block) known(f *field, kind class) {
	switch {
	case kind == host && b.kind == requestHead:
		if b.host != "" {
			b.bad(detailRule, "host twice")
		}
		b.host = f.value
		return
	case kind == cookie && b.kind == requestHead:
		b.cookies++
	case kind == contentLength:
		n, ok := httptext.Length(f.value)
		if !ok || b.content >= 0 {
			b.bad(detailRule, "bad content-length")
			return
		}
		b.content = n
	}
	b.add(f)
}

// underscored reports whether a field with an underscore in its name is left out.
func (b *block) underscored() bool {
	switch b.c.o.Underscores {
	case DropUnderscores:
		b.c.o.Stats.count(statDropped)
		return true
	case RejectUnderscores:
		if b.kind == requestHead {
			b.underline = true
			return true
		}
	}
	return false
}

// joinCookies makes one line of the crumbs that a cookie may come in.
func (b *block) joinCookies() {
	if b.cookies < 2 {
		return
	}
	var joined strings.Builder
	first, kept := -1, (*b.lines)[:0]
	for _, f := range *b.lines {
		if f.Name != "cookie" {
			kept = append(kept, f)
			continue
		}
		if first < 0 {
			first = len(kept)
			kept = append(kept, f)
		} else {
			joined.WriteString("; ")
		}
		joined.WriteString(f.Value)
	}
	kept[first].Value = joined.String()
	clear((*b.lines)[len(kept):])
	*b.lines = kept
}

// refusal is the error for a message that is not accepted; nil: it is.
func (b *block) refusal() error {
	w := b.wrong
	switch {
	case w.text == "" && b.underline:
		b.wrong = problem{text: "underscore in a header's name", details: detailUnderscore, limit: true, status: 400}
		b.c.o.Stats.count(statUnderscores)
		return b.resetWith(xhttp2.ErrCodeInternal)
	case w.text == "":
		return nil
	case w.limit:
		return b.resetWith(xhttp2.ErrCodeInternal)
	}
	b.c.o.Stats.count(statMessaging)
	if b.c.o.StreamErrors {
		return b.resetWith(xhttp2.ErrCodeProtocol)
	}
	return &connError{code: xhttp2.ErrCodeProtocol, details: w.details, text: w.text}
}

func (b *block) resetWith(code xhttp2.ErrCode) *streamError {
	reason := httpmsg.ProtocolError
	if b.wrong.limit && b.kind != requestHead {
		reason = httpmsg.RemoteReset // as Envoy says it of responses over a limit
	}
	return &streamError{id: b.id, code: code, reason: reason, details: b.wrong.details, text: b.wrong.text}
}
