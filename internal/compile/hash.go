package compile

import (
	"crypto/sha1"
	"encoding/binary"
	"fmt"
	"slices"
	"strconv"

	"github.com/cespare/xxhash/v2"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/ginnel/ginnel/extension"
)

// hash tells two versions of a message apart.
func hash(m proto.Message) uint64 { return xxhash.Sum64(bytesOf(m)) }

// mixed is h with further hashes, whose order counts.
func mixed(h uint64, more ...uint64) uint64 {
	if len(more) == 0 {
		return h
	}
	var b []byte
	for _, x := range append([]uint64{h}, more...) {
		b = binary.LittleEndian.AppendUint64(b, x)
	}
	return xxhash.Sum64(b)
}

// withSecrets mixes into h the secrets that were asked for since there were so many, for
// a message says no more than their names.
func withSecrets(s *extension.Scope, h uint64, before int) uint64 {
	var more []uint64
	for _, name := range s.SecretsAsked()[before:] {
		if m := s.Secret(name); m != nil {
			more = append(more, hash(m))
		}
	}
	return mixed(h, more...)
}

// baseHash is the hash of a listener without what can be changed in place. The order of
// listener filters and socket options is part of that (Envoy).
func baseHash(m *listenerv3.Listener) uint64 {
	base := &listenerv3.Listener{}
	m.ProtoReflect().Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch f.Name() {
		case "filter_chains", "default_filter_chain", "filter_chain_matcher", "listener_filters", "socket_options":
		default:
			base.ProtoReflect().Set(f, v)
		}
		return true
	})
	var more []uint64
	for _, f := range m.GetListenerFilters() {
		more = append(more, hash(f))
	}
	n := len(more)
	for _, o := range m.GetSocketOptions() {
		more = append(more, hash(o))
	}
	slices.Sort(more[:n])
	slices.Sort(more[n:])
	return mixed(hash(base), more...)
}

// bytesOf is the same for equal messages within one build of the program.
func bytesOf(m proto.Message) []byte {
	b, err := proto.MarshalOptions{Deterministic: true, AllowPartial: true}.Marshal(m)
	if err != nil {
		return []byte(err.Error()) // text that is not UTF-8
	}
	return b
}

// uuid names what has no name, by what it is and where it stands: a UUID of
// version 5 (RFC 9562), so that the same configuration gives the same names.
func uuid(m proto.Message, index int) string {
	h := sha1.New()
	h.Write(bytesOf(m))
	h.Write(strconv.AppendInt(nil, int64(index), 10))
	u := h.Sum(nil)[:16]
	u[6] = u[6]&0x0f | 0x50
	u[8] = u[8]&0x3f | 0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", u[:4], u[4:6], u[6:8], u[8:10], u[10:])
}
