package tlssocket

import "github.com/ginnel/ginnel/filter"

// inUse is what /certs shows of the material: of a bundle its first certificate, and of each
// trust domain all (Envoy).
func (m *material) inUse() (out filter.CertificatesInUse) {
	for _, c := range m.certificates {
		x := filter.CertificateInUse{Certificate: c.Leaf, Path: c.path}
		if c.ocsp != nil {
			x.OCSPFrom, x.OCSPUntil = c.ocsp.from, c.ocsp.until
		}
		out.Own = append(out.Own, x)
	}
	v := m.validation
	if v == nil {
		return out
	}
	for _, d := range v.domains {
		for _, a := range d.authorities {
			out.Authorities = append(out.Authorities, filter.CertificateInUse{Certificate: a, Path: d.source})
		}
	}
	if v.domains == nil && len(v.authorities) > 0 {
		out.Authorities = append(out.Authorities, filter.CertificateInUse{Certificate: v.authorities[0], Path: v.source})
	}
	return out
}

// show lets operators see the material in use; what has not come is not shown.
func (s *supply[T]) show(in filter.Secrets) {
	if l, ok := in.(filter.CertificateList); ok {
		s.ends = append(s.ends, l.Show(func() filter.CertificatesInUse {
			if m := s.used.Load(); m != nil {
				return m.inUse()
			}
			return filter.CertificatesInUse{}
		}))
	}
}
