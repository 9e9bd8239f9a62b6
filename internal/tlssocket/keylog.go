package tlssocket

import (
	"fmt"
	"io"
	"net"
	"net/netip"

	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"

	"github.com/ginnel/ginnel/extension"
	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/internal/httpmatch"
)

// A keyLog says where keys of connections go, in the form of NSS (SSLKEYLOGFILE), and of which.
type keyLog struct {
	path          string
	local, remote []netip.Prefix // empty: any address, and what is none
}

// compileKeyLog returns nil where there is none.
func compileKeyLog(s *extension.Scope, m *tlsv3.TlsKeyLog) *keyLog {
	if m == nil {
		return nil
	}
	keyLogFields.Check(s, m)
	if m.GetPath() == "" {
		s.Field("path").Errorf("value length must be at least 1 characters")
	}
	return &keyLog{
		path:   m.GetPath(),
		local:  httpmatch.Prefixes(s.Field("local_address_range"), m.GetLocalAddressRange()),
		remote: httpmatch.Prefixes(s.Field("remote_address_range"), m.GetRemoteAddressRange()),
	}
}

// open opens the file, also of a k that is nil.
func (k *keyLog) open(in filter.LogFiles) (w keyWriter, err error) {
	switch {
	case k == nil:
		return w, nil
	case in == nil:
		return w, fmt.Errorf("unable to open file '%s': there are no log files", k.path)
	}
	file, err := in.Open(k.path)
	return keyWriter{k, file}, err
}

// A keyWriter writes the keys of one socket's connections. The zero value writes none.
type keyWriter struct {
	log  *keyLog
	file filter.LogFile
}

// of returns where the keys of a connection go; nil: nowhere.
func (w *keyWriter) of(local, remote net.Addr) io.Writer {
	if w.file == nil || !within(w.log.local, local) || !within(w.log.remote, remote) {
		return nil
	}
	return w
}

// Write implements io.Writer. It never fails, for crypto/tls would end the handshake.
func (w *keyWriter) Write(line []byte) (int, error) {
	w.file.Write(line) //nolint:errcheck // a dropped line is counted by the file
	return len(line), nil
}

func within(ranges []netip.Prefix, a net.Addr) bool {
	if len(ranges) == 0 {
		return true
	}
	ip, ok := filter.IP(a)
	if !ok {
		return false
	}
	for _, r := range ranges {
		if r.Contains(ip.Addr().Unmap().WithZone("")) {
			return true
		}
	}
	return false
}
