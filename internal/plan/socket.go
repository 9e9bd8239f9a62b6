package plan

// A SocketOption is one of socket_options: an int, or bytes when Bytes is not nil.
type SocketOption struct {
	Level, Name int
	Int         int
	Bytes       []byte
	When        When
	Family      Family
}

// When is the state of a socket in which an option is set.
type When uint8

// The states.
const (
	PreBind When = iota
	Bound
	Listening
)

// A Family is the version of IP that an option is for.
type Family uint8

// The families. A Unix socket has none, and takes options for any.
const (
	AnyFamily Family = iota
	IPv4
	IPv6
)
