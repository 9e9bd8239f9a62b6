package http1

import (
	"testing"

	"github.com/ginnel/ginnel/httpmsg"
)

// A reason phrase that is kept is that of the response that comes out.
func TestPhrases(t *testing.T) {
	for name, x := range map[string]struct {
		forward  bool
		in, want string
	}{
		"kept":      {true, "HTTP/1.1 200 Quite  fine\r\n", "HTTP/1.1 200 Quite  fine\r\n"},
		"not asked": {false, "HTTP/1.1 200 Quite fine\r\n", "HTTP/1.1 200 OK\r\n"},
		"empty":     {true, "HTTP/1.1 404 \r\n", "HTTP/1.1 404 Not Found\r\n"},
		"none":      {true, "HTTP/1.1 404\r\n", "HTTP/1.1 404 Not Found\r\n"},
	} {
		t.Run(name, func(t *testing.T) {
			p := responseHead{rules: (&ClientOptions{HeaderKeyFormat: KeyFormat{ForwardPhrase: x.forward}}).rules()}
			if err := p.parse([]byte(x.in+"\r\n"), asked{}); err != nil {
				t.Fatal(err)
			}
			if got := string(appendStatus(nil, httpmsg.HTTP11, p.resp.Status, p.resp.Phrase)); got != x.want {
				t.Errorf("%q, want %q", got, x.want)
			}
		})
	}
}
