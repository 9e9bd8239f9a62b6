package tlssocket

import (
	"github.com/ginnel/ginnel/filter"
)

// stats are those of one socket, under Envoy's names.
type stats struct {
	scope                                        filter.Scope
	connectionError, handshake, reused           filter.Counter
	noCertificate, noCert, verifyError           filter.Counter
	verifySAN, verifyHash, keyUsage              filter.Counter
	ocspFailed, ocspOmitted, ocspResp, ocspRqust filter.Counter
}

func newStats(s filter.Scope) *stats {
	return &stats{
		scope:           s,
		connectionError: s.Counter("connection_error"), handshake: s.Counter("handshake"), reused: s.Counter("session_reused"),
		noCertificate: s.Counter("no_certificate"), noCert: s.Counter("fail_verify_no_cert"),
		verifyError: s.Counter("fail_verify_error"), verifySAN: s.Counter("fail_verify_san"),
		verifyHash: s.Counter("fail_verify_cert_hash"), keyUsage: s.Counter("was_key_usage_invalid"),
		ocspFailed: s.Counter("ocsp_staple_failed"), ocspOmitted: s.Counter("ocsp_staple_omitted"),
		ocspResp: s.Counter("ocsp_staple_responses"), ocspRqust: s.Counter("ocsp_staple_requests"),
	}
}

// shook counts a handshake that was completed.
func (st *stats) shook(t *filter.TLS) {
	st.handshake.Add(1)
	if t.Resumed {
		st.reused.Add(1)
	}
	if len(t.Peer) == 0 {
		st.noCertificate.Add(1)
	}
	st.scope.Counter("ciphers." + t.Cipher).Add(1)
	st.scope.Counter("versions." + t.Version).Add(1)
	if t.Group != "" {
		st.scope.Counter("curves." + t.Group).Add(1)
	}
}

// failed counts one that was not.
func (st *stats) failed(f *failure) {
	switch f.kind {
	case failedTLS:
		st.connectionError.Add(1)
	case failedMissing:
		st.noCert.Add(1)
	case failedChain:
		st.verifyError.Add(1)
	case failedSAN:
		st.verifySAN.Add(1)
	case failedHash:
		st.verifyHash.Add(1)
	case failedKeyUsage:
		st.keyUsage.Add(1)
		st.connectionError.Add(1)
	}
}
