package admin

import (
	"net/http"
	"time"

	adminv3 "github.com/envoyproxy/go-control-plane/envoy/admin/v3"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/internal/certtext"
)

// certs lists the certificates in use, as Envoy does: those of each TLS context.
func (s *Server) certs(w http.ResponseWriter, _ *http.Request) {
	out, now := new(adminv3.Certificates), time.Now()
	for _, c := range s.opts.Proxy.Certificates() {
		x := new(adminv3.Certificate)
		for _, a := range c.Authorities {
			x.CaCert = append(x.CaCert, certDetails(a, now))
		}
		for _, o := range c.Own {
			x.CertChain = append(x.CertChain, certDetails(o, now))
		}
		out.Certificates = append(out.Certificates, x)
	}
	message(w, out, true)
}

func certDetails(c filter.CertificateInUse, now time.Time) *adminv3.CertificateDetails {
	d := &adminv3.CertificateDetails{
		Path: c.Path, SerialNumber: certtext.Serial(c.Certificate),
		ValidFrom: timestamppb.New(c.NotBefore), ExpirationTime: timestamppb.New(c.NotAfter),
		DaysUntilExpiration: uint64(max(c.NotAfter.Sub(now.Truncate(time.Second))/(24*time.Hour), 0)),
	}
	names := certtext.NamesOf(c.Certificate)
	for _, n := range names.DNS {
		d.SubjectAltNames = append(d.SubjectAltNames, &adminv3.SubjectAlternateName{Name: &adminv3.SubjectAlternateName_Dns{Dns: n}})
	}
	for _, n := range names.URI {
		d.SubjectAltNames = append(d.SubjectAltNames, &adminv3.SubjectAlternateName{Name: &adminv3.SubjectAlternateName_Uri{Uri: n}})
	}
	for _, n := range names.IP {
		d.SubjectAltNames = append(d.SubjectAltNames, &adminv3.SubjectAlternateName{Name: &adminv3.SubjectAlternateName_IpAddress{IpAddress: n}})
	}
	if !c.OCSPFrom.IsZero() {
		d.OcspDetails = &adminv3.CertificateDetails_OcspDetails{ValidFrom: timestamppb.New(c.OCSPFrom), Expiration: timestamppb.New(c.OCSPUntil)}
	}
	return d
}
