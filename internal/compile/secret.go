package compile

import (
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	"google.golang.org/protobuf/proto"

	"github.com/ginnel/ginnel/extension"
)

// secrets makes the static secrets known to what is compiled in all. Who uses one compiles
// it, for only then is it clear what it is for.
func secrets(s, all *extension.Scope, list []*tlsv3.Secret) {
	byName := make(map[string]proto.Message, len(list))
	for i, m := range list {
		at := s.Index(i)
		secretFields.Check(at, m)
		if m.GetType() == nil {
			at.Errorf("Secret type not implemented")
		}
		if byName[m.GetName()] != nil {
			at.Field("name").Errorf("Duplicate static secret name %s", m.GetName())
		}
		byName[m.GetName()] = m
	}
	all.SetSecrets(byName)
}

var secretFields = extension.Fields{
	Message: &tlsv3.Secret{},
	Obeyed:  []string{"name", "tls_certificate", "validation_context", "session_ticket_keys"},
}
