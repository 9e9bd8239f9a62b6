package state

import (
	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/httpmsg"
)

func received(m moment) uint64 { return m.Received }
func sent(m moment) uint64     { return m.Sent }

// wire counts bytes on the wire: of a request those of its stream.
func wire(of func(*filter.HTTPInfo) uint64, conn func(moment) uint64) builder {
	return number64(func(m moment) uint64 {
		if h := m.HTTP(); h != nil {
			return of(h)
		}
		return conn(m)
	})
}

// stream counts what a connection has nothing of.
func stream(of func(*filter.HTTPInfo) uint64) builder {
	return wire(of, func(moment) uint64 { return 0 })
}

// plain is the size of heads before compression: as on the wire where there is none.
func plain(uncompressed, wire uint64) uint64 {
	if uncompressed == 0 {
		return wire
	}
	return uncompressed
}

// requestHeaderBytes counts names and values as the filters left them, with those that
// are headers in Envoy.
func requestHeaderBytes(h *filter.HTTPInfo) uint64 {
	r := h.Request
	if r == nil {
		return 0
	}
	n := headerBytes(r.Header)
	for _, f := range [...]httpmsg.Field{
		{Name: ":method", Value: r.Method}, {Name: ":scheme", Value: r.Scheme},
		{Name: ":authority", Value: r.Authority}, {Name: ":path", Value: r.Path},
	} {
		if f.Value != "" {
			n += uint64(len(f.Name) + len(f.Value))
		}
	}
	if r.Upgrade != "" {
		n += uint64(len("connectionupgradeupgrade") + len(r.Upgrade))
	}
	return n
}

func responseHeaderBytes(h *filter.HTTPInfo) uint64 {
	if h.Response == nil {
		return 0
	}
	return headerBytes(h.Response.Header) + uint64(len(":status200"))
}

func responseTrailerBytes(h *filter.HTTPInfo) uint64 { return headerBytes(h.Trailer) }

func headerBytes(lines httpmsg.Header) (n uint64) {
	for i := range lines {
		n += uint64(len(lines[i].Name) + len(lines[i].Value))
	}
	return n
}
