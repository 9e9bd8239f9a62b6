// Package builtin is the one list of the extensions that ginnel has.
package builtin

import (
	"github.com/ginnel/ginnel/extension"
	"github.com/ginnel/ginnel/internal/accesslog"
	"github.com/ginnel/ginnel/internal/ext/buffer"
	"github.com/ginnel/ginnel/internal/ext/connectionlimit"
	"github.com/ginnel/ginnel/internal/ext/cors"
	"github.com/ginnel/ginnel/internal/ext/directresponse"
	"github.com/ginnel/ginnel/internal/ext/dynamicforward"
	"github.com/ginnel/ginnel/internal/ext/echo"
	"github.com/ginnel/ginnel/internal/ext/extauthz"
	"github.com/ginnel/ginnel/internal/ext/fault"
	"github.com/ginnel/ginnel/internal/ext/grpcstats"
	"github.com/ginnel/ginnel/internal/ext/headermutation"
	"github.com/ginnel/ginnel/internal/ext/healthcheck"
	"github.com/ginnel/ginnel/internal/ext/httpinspector"
	"github.com/ginnel/ginnel/internal/ext/localratelimit"
	"github.com/ginnel/ginnel/internal/ext/originaldst"
	"github.com/ginnel/ginnel/internal/ext/originalsrc"
	"github.com/ginnel/ginnel/internal/ext/proxyprotocol"
	"github.com/ginnel/ginnel/internal/ext/rbac"
	"github.com/ginnel/ginnel/internal/ext/setfilterstate"
	"github.com/ginnel/ginnel/internal/ext/snicluster"
	"github.com/ginnel/ginnel/internal/ext/tlsinspector"
	"github.com/ginnel/ginnel/internal/hcm"
	"github.com/ginnel/ginnel/internal/router"
	"github.com/ginnel/ginnel/internal/tcpproxy"
	"github.com/ginnel/ginnel/internal/tlssocket"
	"github.com/ginnel/ginnel/internal/transport"
)

// Registry returns a new registry with all of them. To add an extension of your own,
// register it there before you start a proxy with it.
func Registry() *extension.Registry {
	r := &extension.Registry{}
	accesslog.Register(r)
	buffer.Register(r)
	connectionlimit.Register(r)
	cors.Register(r)
	directresponse.Register(r)
	dynamicforward.Register(r)
	echo.Register(r)
	extauthz.Register(r)
	hcm.Register(r)
	fault.Register(r)
	healthcheck.Register(r)
	httpinspector.Register(r)
	localratelimit.Register(r)
	grpcstats.Register(r)
	headermutation.Register(r)
	originaldst.Register(r)
	originalsrc.Register(r)
	proxyprotocol.Register(r)
	rbac.Register(r)
	router.Register(r)
	setfilterstate.Register(r)
	snicluster.Register(r)
	tlsinspector.Register(r)
	tcpproxy.Register(r)
	tlssocket.Register(r)
	transport.Register(r)
	return r
}
