// Package directresponse is the network filter that answers each connection with
// fixed bytes and closes it
// (envoy.extensions.filters.network.direct_response.v3.Config).
package directresponse

import (
	"errors"
	"os"
	"syscall"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	directv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/direct_response/v3"

	"github.com/ginnel/ginnel/extension"
	"github.com/ginnel/ginnel/filter"
)

// response is a compiled configuration and the filter in one: the bytes to send.
type response struct{ body []byte }

var fields = extension.Fields{Message: &directv3.Config{}, Obeyed: []string{"response"}}

var sourceFields = extension.Fields{
	Message: &corev3.DataSource{},
	Obeyed:  []string{"filename", "inline_bytes", "inline_string", "environment_variable"},
}

// Support returns what is done with the fields of the messages read here.
func Support() []*extension.Fields { return []*extension.Fields{&fields, &sourceFields} }

// Register adds the filter to a registry.
func Register(r *extension.Registry) {
	extension.Register(r, extension.TerminalFilter, compile)
}

func compile(s *extension.Scope, m *directv3.Config) filter.TerminalFactory {
	fields.Check(s, m)
	s = s.Field("response")
	if m.Response != nil {
		sourceFields.Check(s, m.Response)
	}
	r := &response{}
	switch d := m.GetResponse().GetSpecifier().(type) {
	case *corev3.DataSource_InlineBytes:
		r.body = d.InlineBytes
	case *corev3.DataSource_InlineString:
		r.body = []byte(d.InlineString)
	case *corev3.DataSource_EnvironmentVariable:
		v, ok := os.LookupEnv(d.EnvironmentVariable)
		if !ok {
			s.Field("environment_variable").Errorf("environment variable doesn't exist: %s", d.EnvironmentVariable)
		}
		r.body = []byte(v)
	case *corev3.DataSource_Filename:
		b, err := os.ReadFile(d.Filename)
		if err != nil {
			s.Field("filename").Errorf("%v", err)
		}
		r.body = b
	}
	return r
}

// NewTerminal implements filter.TerminalFactory.
func (r *response) NewTerminal(*filter.Env) (filter.Terminal, error) { return r, nil }

// ServeConn implements filter.ConnHandler.
func (r *response) ServeConn(c *filter.Conn) error {
	return filter.ServeBytes(c, func(s *filter.Counted) error {
		c.Accept()
		c.Info.More().Details = "direct_response"
		if _, err := s.Write(r.body); err != nil {
			return err
		}
		return linger(s)
	})
}

// lingerTime bounds the wait for the client's own end (Envoy: delayed close, 1 s).
const lingerTime = time.Second

// linger ends the answer and reads on until the client has ended too: to close a
// socket with unread bytes would reset it, and the answer might be lost.
func linger(s *filter.Counted) error {
	if err := s.CloseWrite(); err != nil {
		return err
	}
	if err := s.SetReadDeadline(time.Now().Add(lingerTime)); err != nil {
		return err
	}
	var waste [512]byte
	for {
		if _, err := s.Read(waste[:]); err != nil {
			if errors.Is(err, syscall.ECONNRESET) {
				return err
			}
			return nil
		}
	}
}
