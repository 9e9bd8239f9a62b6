package upstream

import (
	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/httpmsg"
	"github.com/ginnel/ginnel/internal/http1"
	"github.com/ginnel/ginnel/internal/http2"
	"github.com/ginnel/ginnel/internal/plan"
)

// A codec makes the client of a connection that was made for a member of a pool, which
// owns it. On an error the stream is the caller's again.
type codec func(m *member, s filter.Stream) (httpmsg.Client, error)

func newClient(m *member, s filter.Stream) (httpmsg.Client, error) {
	c := m.pool.host.cluster
	if m.protocol == httpmsg.HTTP2 {
		return http2.NewClient(s, c.codecs().http2, m), nil
	}
	return http1.NewClient(s, c.codecs().http1, m), nil
}

// codecs are the options of a cluster's connections.
type codecs struct {
	http1 *http1.ClientOptions
	http2 *http2.ClientOptions
}

func newCodecs(p *plan.HTTP, bufferBytes int, scope filter.Scope, h filter.Hangups) codecs {
	return codecs{
		http1: &http1.ClientOptions{
			HeaderKeyFormat: http1.KeyFormat{ProperCase: p.HTTP1.ProperCase, PreserveCase: p.HTTP1.PreserveCase, ForwardPhrase: p.HTTP1.ForwardPhrase},
			EnableTrailers:  p.HTTP1.Trailers, AllowChunkedLength: p.HTTP1.AllowChunkedLength,
			SendFullyQualifiedURL:   p.HTTP1.FullURL,
			MaxResponseHeadersBytes: p.MaxHeaderBytes, MaxHeadersCount: int(p.MaxHeaders),
			BufferBytes: bufferBytes, Hangups: h,
		},
		http2: &http2.ClientOptions{Options: http2Options(p, scope)},
	}
}

func http2Options(p *plan.HTTP, scope filter.Scope) http2.Options {
	o := &p.HTTP2
	out := http2.Options{
		TableSize: o.TableBytes, MaxConcurrentStreams: o.MaxStreams,
		StreamWindow: o.StreamWindow, ConnectionWindow: o.ConnectionWindow,
		AllowConnect: o.AllowConnect, StreamErrors: o.StreamErrors,
		DisallowObsText: o.DisallowObsText, Huffman: o.Huffman,
		Keepalive: http2.Keepalive{
			Interval: o.Keepalive.Interval, Timeout: o.Keepalive.Timeout,
			Jitter: o.Keepalive.JitterPercent / 100, IdleInterval: o.Keepalive.IdleInterval,
		},
		MaxOutboundFrames: o.MaxOutboundFrames, MaxOutboundControlFrames: o.MaxOutboundControlFrames,
		MaxEmptyFrames: o.MaxEmptyFrames, MaxPriorityFrames: o.MaxPriorityFramesPerStream,
		MaxWindowUpdates: o.MaxWindowUpdatesPerData, MaxFieldBytes: o.MaxFieldBytes,
		MaxHeaders: int(p.MaxHeaders), MaxHeaderBytes: p.MaxHeaderBytes,
		Stats: http2.NewStats(scope.Scope("http2.")),
	}
	for _, s := range o.Settings {
		out.Settings = append(out.Settings, http2.Setting{ID: s.ID, Value: s.Value})
	}
	return out
}
