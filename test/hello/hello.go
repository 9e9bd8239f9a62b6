// Package hello is what clients send first.
package hello

import (
	"bytes"
	"crypto/tls"
	"io"
	"net"
	"time"
)

// TLS returns the first record of a client that asks for a server name ("": none) and
// offers protocols.
func TLS(name string, protocols ...string) []byte {
	out := &recorder{}
	c := tls.Client(out, &tls.Config{ServerName: name, NextProtos: protocols, InsecureSkipVerify: true})
	_ = c.Handshake() // ends as soon as it reads
	return out.Bytes()
}

// A recorder is a connection that has been written to, and has nothing to read.
type recorder struct{ bytes.Buffer }

func (*recorder) Read([]byte) (int, error)         { return 0, io.EOF }
func (*recorder) Close() error                     { return nil }
func (*recorder) LocalAddr() net.Addr              { return nil }
func (*recorder) RemoteAddr() net.Addr             { return nil }
func (*recorder) SetDeadline(time.Time) error      { return nil }
func (*recorder) SetReadDeadline(time.Time) error  { return nil }
func (*recorder) SetWriteDeadline(time.Time) error { return nil }
