package http1

import "github.com/ginnel/ginnel/httpmsg"

// A refusal is why a message is not accepted, and the status that says so.
type refusal struct {
	status  int
	details string
	text    string // what is wrong, for people
}

func (r *refusal) Error() string { return r.text }

// why is the refusal as the end of an exchange.
func (r *refusal) why() *httpmsg.ResetError {
	return &httpmsg.ResetError{Reason: httpmsg.ProtocolError, Details: r.details, Err: r}
}

// The refusals. Their details are Envoy's.
var (
	errLine          = &refusal{400, "http1.codec_error", "malformed start line"}
	errBareLF        = &refusal{400, "http1.codec_error", "a line that ends without CR"}
	errBlank         = &refusal{400, "http1.codec_error", "too many empty lines"}
	errName          = &refusal{400, "http1.codec_error", "malformed header name"}
	errFold          = &refusal{400, "http1.codec_error", "folded header line"}
	errValue         = &refusal{400, "http1.invalid_characters", "control character in a header"}
	errMethod        = &refusal{400, "http1.codec_error", "unknown method"}
	errTarget        = &refusal{400, "http1.codec_error", "malformed target"}
	errTargetDel     = &refusal{400, "http1.invalid_characters", "control character in the target"}
	errURL           = &refusal{400, "http1.invalid_url", "malformed URL"}
	errScheme        = &refusal{400, "http1.invalid_scheme", "unknown scheme"}
	errVersion       = &refusal{505, "http1.codec_error", "unknown version of HTTP"}
	errLowVersion    = &refusal{426, "low_version", "HTTP/1.0"}
	errNoHost        = &refusal{400, "missing_host_header", "no host"}
	errHost          = &refusal{400, "http.invalid_authority", "malformed host"}
	errTwoHosts      = &refusal{400, "http.invalid_authority", "more than one host"}
	errTooLarge      = &refusal{431, "http1.headers_too_large", "head too large"}
	errTooMany       = &refusal{431, "http1.too_many_headers", "too many headers"}
	errTrailers      = &refusal{400, "http1.headers_too_large", "trailers too large"}
	errUnderscore    = &refusal{400, "http1.unexpected_underscore", "underscore in a header name"}
	errLength        = &refusal{400, "http1.codec_error", "malformed content-length"}
	errBothLengths   = &refusal{400, "http1.content_length_and_chunked_not_allowed", "content-length and transfer-encoding"}
	errCoding        = &refusal{501, "http1.invalid_transfer_encoding", "unknown transfer-encoding"}
	errTwoCodings    = &refusal{400, "http1.invalid_transfer_encoding", "more than one transfer-encoding"}
	errCodingHere    = &refusal{400, "http1.transfer_encoding_not_allowed", "transfer-encoding where none may be"}
	errLengthHere    = &refusal{400, "http1.content_length_not_allowed", "content-length where none may be"}
	errConnectBody   = &refusal{400, "http1.body_disallowed", "CONNECT with a body"}
	errConnection    = &refusal{400, "http1.connection_header_rejected", "connection names what it may not"}
	errChunk         = &refusal{400, "http1.codec_error", "malformed chunk"}
	errChunkOverhead = &refusal{400, "http1.codec_error", "chunks of hardly any data"}
	errCutHead       = &refusal{502, "http1.codec_error", "a head that ends in its middle"}
	errStatus        = &refusal{502, "http1.codec_error", "malformed status line"}
	errUpgraded      = &refusal{502, "http1.codec_error", "101 that nobody asked for"}
	errUnasked       = &refusal{502, "http1.codec_error", "bytes that nobody asked for"}
	errInforming     = &refusal{502, "http1.codec_error", "too many informational responses"}
	errTimeout       = &refusal{408, "request_header_timeout", "the head took too long"}
)
