package route

import (
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"

	"github.com/ginnel/ginnel/extension"
	"github.com/ginnel/ginnel/internal/httpmatch"
)

// A virtualCluster gives requests of a kind statistics of their own.
type virtualCluster struct {
	name    string
	headers httpmatch.Headers
}

func compileVirtualCluster(s *extension.Scope, m *routev3.VirtualCluster) virtualCluster {
	virtualClusterFields.Check(s, m)
	if len(m.GetHeaders()) == 0 {
		s.Errorf("virtual clusters must define 'headers'")
	}
	return virtualCluster{m.GetName(), httpmatch.CompileHeaders(s.Field("headers"), m.GetHeaders())}
}
