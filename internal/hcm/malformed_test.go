package hcm

import (
	"io"
	"strings"
	"testing"

	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/httpmsg"
)

// TestMalformedBody: a client whose body breaks the protocol is told so, unless its
// response has begun; the connection ends.
func TestMalformedBody(t *testing.T) {
	const head = "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n"
	all := func(s *filter.HTTPStream) (*httpmsg.Response, error) {
		for {
			if _, err := s.Request.Body.Next(); err == io.EOF {
				return s.Reply(filter.LocalReply{Status: 200}), nil
			} else if err != nil {
				return nil, err
			}
		}
	}
	const wrong = "3\nabc\r\n0\r\n\r\nGET / HTTP/1.1\r\nhost: a\r\n\r\n"
	tests := []struct {
		name    string
		handler filter.HTTPHandlerFunc
		first   string // what comes before the client is wrong
		want    string
	}{
		{"before the response", all, "", "HTTP/1.1 400 Bad Request\r\n...connection: close\r\n\r\nBad Request"},
		{"in the response", echo, "\r\n\r\n3\r\nabc\r\n", "..."},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			v := serve(t, &Config{Limits: defaults}, tt.handler)
			c := v.dial()
			send := func(text string) {
				if _, err := io.WriteString(c, text); err != nil {
					t.Fatal(err)
				}
			}
			send(head + "3\r\nabc\r\n")
			var first []byte
			for !strings.HasSuffix(string(first), tt.first) {
				p := make([]byte, 512)
				n, err := c.Read(p)
				if err != nil {
					t.Fatalf("%v after %q", err, first)
				}
				first = append(first, p[:n]...)
			}
			send(wrong)
			got, _ := io.ReadAll(c)
			begin, end, _ := strings.Cut(tt.want, "...")
			if s := string(got); !strings.HasPrefix(s, begin) || !strings.HasSuffix(s, end) || end == "" && s != "" {
				t.Errorf("got %q after %q", s, first)
			}
			v.end()
		})
	}
}
