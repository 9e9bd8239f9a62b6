package secret

import (
	"fmt"
	"os"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/protobuf/proto"

	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/internal/config"
	"github.com/ginnel/ginnel/internal/filewatch"
)

// A refusal is a delivery that holds another thing than the secret.
type refusal struct{ text string }

func (e *refusal) Error() string { return e.text }

func refuse(format string, a ...any) error { return &refusal{fmt.Sprintf(format, a...)} }

// readResource returns what the file of a reference delivers.
func readResource(r filter.SecretRef) (version string, _ *tlsv3.Secret, err error) {
	d := &discoveryv3.DiscoveryResponse{}
	if _, err := config.Load(config.Input{Path: r.Path, Target: d}); err != nil {
		return "", nil, err
	}
	switch n := len(d.GetResources()); n {
	case 0:
		return "", nil, refuse("Missing SDS resources for %s in onConfigUpdate()", r.Name)
	case 1:
	default:
		return "", nil, refuse("Unexpected SDS secrets length for %s, number of added resources %d, number of removed resources 0. Expected sum is 1", r.Name, n)
	}
	m, err := config.Unpack(d.GetResources()[0])
	if err != nil {
		return "", nil, err
	}
	x, ok := m.(*tlsv3.Secret)
	switch {
	case !ok:
		return "", nil, refuse("Unexpected resource type %s", m.ProtoReflect().Descriptor().FullName())
	case x.GetName() != r.Name:
		return "", nil, refuse("Unexpected SDS secret (expecting %s): %s", r.Name, x.GetName())
	case !isOf(x, r.Kind):
		return "", nil, refuse("the secret %s is of another kind", r.Name)
	}
	return d.GetVersionInfo(), x, nil
}

func isOf(m *tlsv3.Secret, k filter.SecretKind) bool {
	switch k {
	case filter.ValidationSecret:
		return m.GetValidationContext() != nil
	case filter.TicketSecret:
		return m.GetSessionTicketKeys() != nil
	}
	return m.GetTlsCertificate() != nil
}

// sources are the parts of a secret that may be files, of those that are read again:
// not the keys of tickets (Envoy).
func sources(m *tlsv3.Secret) (all []*corev3.DataSource, dir string) {
	switch x := m.GetType().(type) {
	case *tlsv3.Secret_TlsCertificate:
		c := x.TlsCertificate
		return []*corev3.DataSource{c.GetCertificateChain(), c.GetPrivateKey(), c.GetPkcs12(), c.GetPassword(), c.GetOcspStaple()}, c.GetWatchedDirectory().GetPath()
	case *tlsv3.Secret_ValidationContext:
		v := x.ValidationContext
		return []*corev3.DataSource{v.GetTrustedCa(), v.GetCrl()}, v.GetWatchedDirectory().GetPath()
	}
	return nil, ""
}

// filesOf says what is to be watched of a secret; nil: nothing.
func filesOf(m *tlsv3.Secret) *filewatch.Options {
	all, dir := sources(m)
	var names []string
	for _, d := range all {
		if f := d.GetFilename(); f != "" {
			names = append(names, f)
		}
	}
	if names == nil {
		return nil
	}
	return &filewatch.Options{File: names[0], More: names[1:], Dir: dir, Moved: true}
}

// withFiles returns a secret with what its files hold in place of their names. They are
// read until two readings are the same, for they are replaced one after the other.
func withFiles(m *tlsv3.Secret) (*tlsv3.Secret, error) {
	const most = 5
	last, err := readFiles(m)
	for range most {
		var next *tlsv3.Secret
		if next, err = readFiles(m); err == nil && proto.Equal(next, last) {
			return next, nil
		}
		last = next
	}
	if err == nil {
		err = fmt.Errorf("the files of %s change while they are read", m.GetName())
	}
	return nil, err
}

func readFiles(m *tlsv3.Secret) (*tlsv3.Secret, error) {
	full := proto.CloneOf(m)
	all, _ := sources(full)
	for _, d := range all {
		name := d.GetFilename()
		if name == "" {
			continue
		}
		b, err := os.ReadFile(name)
		if err != nil {
			return nil, fmt.Errorf("Invalid path: %s", name) //nolint:staticcheck // Envoy's text
		}
		d.Specifier = &corev3.DataSource_InlineBytes{InlineBytes: b}
	}
	return full, nil
}
