package route

import (
	"os"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"

	"github.com/ginnel/ginnel/extension"
	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/internal/state"
)

// A DirectResponse answers without a cluster.
type DirectResponse struct {
	Status int
	Body   string // "": none. Format may print something else in its place
	// ContentType is what body_format asks for; "": text/plain, or application/json for
	// a JSON format.
	ContentType string
	JSON        bool            // Format prints JSON
	Format      state.Formatter // nil: Body as it is
}

// Print returns the body of the response to the request of info, in which LocalReplyBody
// is Body already.
func (d *DirectResponse) Print(info *filter.Info) string {
	if d.Format == nil {
		return d.Body
	}
	return string(d.Format.Append(nil, info, filter.NotSet))
}

func (c *compiler) directResponse(s *extension.Scope, m *routev3.DirectResponseAction) *DirectResponse {
	directFields.Check(s, m)
	d := &DirectResponse{Status: int(m.GetStatus()), Body: c.body(s.Field("body"), m.GetBody())}
	if f := m.GetBodyFormat(); f != nil {
		d.ContentType, d.JSON = f.GetContentType(), f.GetJsonFormat() != nil
		d.Format, _ = state.CompileFormat(s.Field("body_format"), f)
	}
	return d
}

// body reads a response's body, whose size is limited wherever it comes from.
func (c *compiler) body(s *extension.Scope, m *corev3.DataSource) string {
	if m == nil {
		return ""
	}
	if name := m.GetFilename(); name != "" {
		if info, err := os.Stat(name); err == nil && info.Size() > int64(c.bodyLimit) {
			s.Field("filename").Errorf("file %s size is %d bytes; maximum is %d", name, info.Size(), c.bodyLimit)
			return ""
		}
	}
	body, _ := state.ReadSource(s, m)
	if len(body) > int(c.bodyLimit) {
		s.Errorf("response body size is %d bytes; maximum is %d", len(body), c.bodyLimit)
	}
	return body
}
