package builtin

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/ginnel/ginnel/extension"
	"github.com/ginnel/ginnel/internal/accesslog"
	"github.com/ginnel/ginnel/internal/compile"
	"github.com/ginnel/ginnel/internal/dns"
	"github.com/ginnel/ginnel/internal/dnscache"
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
	"github.com/ginnel/ginnel/internal/httpmatch"
	"github.com/ginnel/ginnel/internal/matcher"
	"github.com/ginnel/ginnel/internal/route"
	"github.com/ginnel/ginnel/internal/router"
	"github.com/ginnel/ginnel/internal/source"
	"github.com/ginnel/ginnel/internal/state"
	"github.com/ginnel/ginnel/internal/tcpproxy"
	"github.com/ginnel/ginnel/internal/tlssocket"
	"github.com/ginnel/ginnel/internal/transport"
)

// Support returns what is done with the fields of every message that is read, in
// order of the messages' names.
func Support() []*extension.Fields {
	all := slices.Concat(
		compile.Support(), source.Support(), accesslog.Support(), router.Support(), state.Support(), tcpproxy.Support(), transport.Support(), tlssocket.Support(),
		buffer.Support(), dns.Support(), dnscache.Support(), dynamicforward.Support(), connectionlimit.Support(), cors.Support(), directresponse.Support(), echo.Support(), extauthz.Support(), originaldst.Support(), rbac.Support(), originalsrc.Support(), proxyprotocol.Support(), setfilterstate.Support(), snicluster.Support(),
		httpinspector.Support(), tlsinspector.Support(),
		hcm.Support(), httpmatch.Support(), matcher.Support(), route.Support(), headermutation.Support(), grpcstats.Support(), localratelimit.Support(), healthcheck.Support(), fault.Support(),
	)
	slices.SortStableFunc(all, func(a, b *extension.Fields) int { return cmp.Compare(title(a), title(b)) })
	return slices.CompactFunc(all, same)
}

// same reports whether two packages treat a message alike.
func same(a, b *extension.Fields) bool {
	return title(a) == title(b) && slices.Equal(a.Obeyed, b.Obeyed) &&
		maps.Equal(a.Ignored, b.Ignored) && maps.Equal(a.Defaults, b.Defaults)
}

func name(f *extension.Fields) protoreflect.FullName {
	return f.Message.ProtoReflect().Descriptor().FullName()
}

// title names a message, and whose it is if that makes a difference.
func title(f *extension.Fields) string {
	if f.Where == "" {
		return string(name(f))
	}
	return fmt.Sprintf("%s (%s)", name(f), f.Where)
}

const supportHead = `# What ginnel does with the fields of Envoy's API

Written by ` + "`go test ./builtin -update`" + ` from the tables that the code goes by.

A field that is **obeyed** does what Envoy's documentation says; rows of
[differences.md](differences.md) are the exceptions. One that is **ignored** changes
nothing that a user relies on, for the reason given. Every other field is
**refused**: a configuration that sets it is an error that names its place, so that
nothing is half obeyed. Where "only" a value stands, that value is accepted, for
it is what ginnel does anyway.

Messages that are not listed, such as other extensions, are refused as a whole.
`

// WriteSupport writes Support as Markdown.
func WriteSupport(w io.Writer) error {
	var b strings.Builder
	b.WriteString(supportHead)
	for _, f := range Support() {
		fmt.Fprintf(&b, "\n## %s\n\n", title(f))
		writeFields(&b, f)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func writeFields(b *strings.Builder, f *extension.Fields) {
	fields := f.Message.ProtoReflect().Descriptor().Fields()
	if fields.Len() == 0 {
		b.WriteString("It has no fields.\n")
		return
	}
	var refused []string
	for i := range fields.Len() {
		n := string(fields.Get(i).Name())
		_, ignored := f.Ignored[n]
		_, only := f.Defaults[n]
		_, why := f.Refused[n]
		if !slices.Contains(f.Obeyed, n) && !ignored && !only && !why && !strings.HasPrefix(n, "hidden_envoy_deprecated") {
			refused = append(refused, n)
		}
	}
	line(b, "Obeyed", slices.Sorted(slices.Values(f.Obeyed)))
	for _, n := range slices.Sorted(maps.Keys(f.Defaults)) {
		fmt.Fprintf(b, "- Only `%s`: `%s`\n", f.Defaults[n], n)
	}
	for _, n := range slices.Sorted(maps.Keys(f.Ignored)) {
		fmt.Fprintf(b, "- Ignored: `%s`: %s\n", n, f.Ignored[n])
	}
	for _, n := range slices.Sorted(maps.Keys(f.Refused)) {
		fmt.Fprintf(b, "- Refused: `%s`: %s\n", n, f.Refused[n])
	}
	line(b, "Refused", slices.Sorted(slices.Values(refused)))
}

func line(b *strings.Builder, what string, names []string) {
	if len(names) > 0 {
		fmt.Fprintf(b, "- %s: `%s`\n", what, strings.Join(names, "`, `"))
	}
}
