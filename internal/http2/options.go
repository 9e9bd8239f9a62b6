package http2

import (
	"io"
	"time"

	xhttp2 "golang.org/x/net/http2"
)

// A Conn is what a connection of HTTP/2 runs on; every filter.Stream is one. It may
// replay bytes that were read before: the first ones here are the client's preface.
type Conn interface {
	io.Reader
	io.Writer
	CloseWrite() error
	Close() error
	SetReadDeadline(time.Time) error
	SetWriteDeadline(time.Time) error
}

// Options are what both sides of a connection obey; the comments name the fields of
// Envoy's Http2ProtocolOptions and HttpProtocolOptions. The zero value is Envoy's
// defaults. Options are shared by connections and not written to.
type Options struct {
	TableSize            int       // hpack_table_size, in bytes; 0: 4096; <0: no table
	MaxConcurrentStreams uint32    // max_concurrent_streams; 0: 1024
	StreamWindow         uint32    // initial_stream_window_size, in bytes; 0: 16 MiB
	ConnectionWindow     uint32    // initial_connection_window_size, in bytes; 0: 24 MiB
	AllowConnect         bool      // allow_connect: extended CONNECT (RFC 8441)
	Settings             []Setting // custom_settings_parameters; they hold over the fields above
	Huffman              bool      // enable_huffman_encoding; names and values are sent as they are without
	StreamErrors         bool      // override_stream_error_on_invalid_http_message: keeps the connection
	DisallowObsText      bool      // disallow_obs_text: refuses values with bytes from 0x80
	Keepalive            Keepalive // connection_keepalive

	MaxOutboundFrames        int // max_outbound_frames; 0: 10000
	MaxOutboundControlFrames int // max_outbound_control_frames; 0: 1000
	MaxEmptyFrames           int // max_consecutive_inbound_frames_with_empty_payload; 0: 1; <0: none
	MaxPriorityFrames        int // max_inbound_priority_frames_per_stream; 0: 100; <0: none
	MaxWindowUpdates         int // max_inbound_window_update_frames_per_data_frame_sent; 0: 10
	MaxFieldBytes            int // max_header_field_size_kb, in bytes, as on the wire; 0: 64 KiB

	MaxHeaders     int         // max_headers_count, with pseudo headers; 0: 100
	MaxHeaderBytes int         // max_request_headers_kb and its like, in bytes of names and values; 0: 60 KiB
	Underscores    Underscores // headers_with_underscores_action

	// DelayedClose bounds the wait for a peer to take what was sent, and to close its
	// side, once a connection is over. 0: one second; <0: there is no wait.
	DelayedClose time.Duration
	// DelayedCloseStruck is called when a peer had not done so by then; nil: nobody.
	DelayedCloseStruck func()
	// Violated is called when what the peer sent ends the connection, but for floods; nil:
	// nobody.
	Violated func()
	Stats    *Stats // nil: nothing is counted
}

// ServerOptions are those of a Server.
type ServerOptions struct {
	Options
	// ResetBurst streams, and ResetRate more each second, may be reset by the client, or
	// by this side for what the client did (stream_reset_burst, stream_reset_rate).
	ResetBurst int // 0: 1000; <0: none
	ResetRate  int // 0: 33; <0: none
	// RequestHeadersTimeout is how long the head of a request may take from its first frame's
	// header on; 0: for ever.
	RequestHeadersTimeout time.Duration
}

// ClientOptions are those of a Client.
type ClientOptions struct{ Options }

// A Setting is a parameter of a SETTINGS frame.
type Setting struct {
	ID    uint16
	Value uint32
}

// Keepalive is when PINGs are sent.
type Keepalive struct {
	Interval time.Duration // 0: none at intervals
	Timeout  time.Duration // for the answer; any frame renews it
	Jitter   float64       // of an interval, as a part of it: 0.15 adds up to 15 %
	// IdleInterval is how long nothing must have come for a PING to precede a new
	// exchange of a client; 0: none does.
	IdleInterval time.Duration
}

// Underscores is what becomes of headers with an underscore in their name.
type Underscores uint8

// What becomes of them.
const (
	AllowUnderscores  Underscores = iota
	RejectUnderscores             // the stream is reset
	DropUnderscores
)

const (
	initialTableSize = 4096
	initialWindow    = 65535
	maxWindow        = 1<<31 - 1
	maxStreamID      = 1<<31 - 1
)

// withDefaults returns options without zero values that mean something else.
func (o Options) withDefaults(server bool) Options {
	or(&o.TableSize, initialTableSize)
	o.TableSize = max(o.TableSize, 0)
	or(&o.MaxConcurrentStreams, 1024)
	or(&o.StreamWindow, 16<<20)
	or(&o.ConnectionWindow, 24<<20)
	or(&o.MaxOutboundFrames, 10000)
	or(&o.MaxOutboundControlFrames, 1000)
	or(&o.MaxEmptyFrames, 1)
	o.MaxEmptyFrames = max(o.MaxEmptyFrames, 0)
	or(&o.MaxPriorityFrames, 100)
	o.MaxPriorityFrames = max(o.MaxPriorityFrames, 0)
	or(&o.MaxWindowUpdates, 10)
	or(&o.MaxFieldBytes, 64<<10)
	or(&o.MaxHeaders, 100)
	or(&o.MaxHeaderBytes, 60<<10)
	or(&o.DelayedClose, time.Second)
	o.DelayedClose = max(o.DelayedClose, 0)
	o.StreamWindow = min(max(o.StreamWindow, initialWindow), maxWindow)
	o.ConnectionWindow = min(max(o.ConnectionWindow, initialWindow), maxWindow)
	for _, s := range o.Settings {
		o.obey(s, server)
	}
	return o
}

// obey has what this side takes be what a custom parameter says to the peer. How many
// streams a server may begin is nothing here.
func (o *Options) obey(s Setting, server bool) {
	switch xhttp2.SettingID(s.ID) {
	case xhttp2.SettingHeaderTableSize:
		o.TableSize = int(s.Value)
	case xhttp2.SettingMaxConcurrentStreams:
		if server {
			o.MaxConcurrentStreams = s.Value
		}
	case xhttp2.SettingInitialWindowSize:
		o.StreamWindow = s.Value
	}
}

func or[T comparable](v *T, otherwise T) {
	var zero T
	if *v == zero {
		*v = otherwise
	}
}
