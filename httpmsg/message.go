package httpmsg

// A Protocol is a version of HTTP. The zero value is none.
type Protocol uint8

// The protocols.
const (
	HTTP10 Protocol = iota + 1
	HTTP11
	HTTP2
)

// String is the protocol's name in logs; "" of none.
func (p Protocol) String() string { return [...]string{"", "HTTP/1.0", "HTTP/1.1", "HTTP/2"}[p] }

// A Request is the head of a request, and its body.
type Request struct {
	Method    string
	Scheme    string // "http", "https" or what HTTP/2 brought; "" until it is known
	Authority string // with the port, if the client named one
	Path      string // with the query; "" of a CONNECT, which has none
	// Upgrade is the protocol that the stream shall become, as "websocket"; "": none.
	// The method is then GET (but for generic upgrades), the body what comes after the
	// answer, and neither connection nor upgrade is in Header.
	Upgrade  string
	Protocol Protocol
	// Header holds no pseudo headers, no host, and nothing that is of one connection
	// only. content-length, if there, is right; who changes the body changes it too.
	Header Header
	Body   Body // nil: none, and no trailers
}

// Connect reports whether the request asks for a tunnel to its authority.
func (r *Request) Connect() bool { return r.Method == "CONNECT" }

// Tunnel reports whether the bytes that follow the head are not those of a message: of
// a CONNECT, or an upgrade.
func (r *Request) Tunnel() bool { return r.Upgrade != "" || r.Connect() }

// Lookup returns the value of a header or pseudo header by its name; "host" is another
// name of ":authority".
func (r *Request) Lookup(name string) (string, bool) {
	if p := r.pseudo(name); p != nil {
		return *p, *p != ""
	}
	return r.Header.Lookup(name)
}

// Get returns what Lookup does; "" if there is nothing.
func (r *Request) Get(name string) string {
	v, _ := r.Lookup(name)
	return v
}

// Set gives a header or pseudo header one value.
func (r *Request) Set(name, value string) {
	if p := r.pseudo(name); p != nil {
		*p = value
		return
	}
	r.Header.Set(name, value)
}

// Values calls yield for each line of a header, or the pseudo header, of that name.
func (r *Request) Values(name string) func(yield func(string) bool) {
	if p := r.pseudo(name); p != nil {
		return func(yield func(string) bool) {
			if *p != "" {
				yield(*p)
			}
		}
	}
	return r.Header.Values(name)
}

func (r *Request) pseudo(name string) *string {
	switch name {
	case ":method":
		return &r.Method
	case ":scheme":
		return &r.Scheme
	case ":authority", "host":
		return &r.Authority
	case ":path":
		return &r.Path
	}
	return nil
}

// A Response is the head of a response, and its body.
type Response struct {
	Status int
	// Phrase is the reason phrase that HTTP/1 has behind the status; "": that of the status.
	Phrase string
	Header Header // as in a Request
	// Body is what follows; nil: nothing, and no trailers. Of a tunnel that was accepted
	// (2xx to CONNECT, 101 to an upgrade) it is the bytes that come back.
	Body Body
}

// Informational reports whether the response precedes another one. 101 ends the
// exchange of messages and is none of them.
func (r *Response) Informational() bool { return r.Status < 200 && r.Status != 101 }
