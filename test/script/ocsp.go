package script

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"flag"
	"io"
	"math/big"
	"os"
	"path/filepath"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// Structures of RFC 6960, 4.2.1.
type (
	ocspOuter struct {
		Status asn1.Enumerated
		Bytes  ocspBytes `asn1:"explicit,tag:0"`
	}
	ocspBytes struct {
		Type     asn1.ObjectIdentifier
		Response []byte
	}
	ocspBasic struct {
		Data      asn1.RawValue
		Algorithm pkix.AlgorithmIdentifier
		Signature asn1.BitString
	}
	ocspData struct {
		Responder asn1.RawValue
		Produced  time.Time `asn1:"generalized"`
		Responses []ocspSingle
	}
	ocspSingle struct {
		ID         ocspID
		Status     asn1.RawValue
		ThisUpdate time.Time `asn1:"generalized"`
		NextUpdate time.Time `asn1:"generalized,explicit,tag:0"`
	}
	ocspID struct {
		Algorithm pkix.AlgorithmIdentifier
		Name, Key []byte
		Serial    *big.Int
	}
)

// cmdOCSP makes $WORK/NAME.ocsp, what an authority says of a certificate: it is good.
func (s *session) cmdOCSP(_ *testscript.TestScript, neg bool, args []string) error {
	var f flag.FlagSet
	f.SetOutput(io.Discard)
	by, expired := f.String("by", "", "the authority"), f.Bool("expired", false, "")
	if err := f.Parse(args); err != nil || f.NArg() < 1 || f.NArg() > 2 || neg || s.certs[*by] == nil || s.certs[f.Arg(f.NArg()-1)] == nil {
		return errors.New("usage: ocsp -by NAME [-expired] NAME [CERT]")
	}
	ca, c := s.certs[*by], s.certs[f.Arg(f.NArg()-1)]
	next := time.Now().Add(24 * time.Hour)
	if *expired {
		next = time.Now().Add(-time.Hour)
	}
	name, key := sha1.Sum(ca.RawSubject), sha1.Sum(ca.RawSubjectPublicKeyInfo)
	data, err := asn1.Marshal(ocspData{
		Responder: asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: 1, IsCompound: true, Bytes: ca.RawSubject},
		Produced:  time.Now().UTC(),
		Responses: []ocspSingle{{
			ID:         ocspID{pkix.AlgorithmIdentifier{Algorithm: asn1.ObjectIdentifier{1, 3, 14, 3, 2, 26}, Parameters: asn1.NullRawValue}, name[:], key[:], c.SerialNumber},
			Status:     asn1.RawValue{Class: asn1.ClassContextSpecific},
			ThisUpdate: time.Now().Add(-48 * time.Hour).UTC(), NextUpdate: next.UTC(),
		}},
	})
	if err != nil {
		return err
	}
	signer, ok := ca.key.(*ecdsa.PrivateKey)
	if !ok {
		return errors.New("only for authorities with ECDSA keys")
	}
	sum := sha256.Sum256(data)
	signature, err := signer.Sign(rand.Reader, sum[:], crypto.SHA256)
	if err != nil {
		return err
	}
	basic, err := asn1.Marshal(ocspBasic{
		Data:      asn1.RawValue{FullBytes: data},
		Algorithm: pkix.AlgorithmIdentifier{Algorithm: asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 3, 2}},
		Signature: asn1.BitString{Bytes: signature, BitLength: 8 * len(signature)},
	})
	if err != nil {
		return err
	}
	der, err := asn1.Marshal(ocspOuter{Bytes: ocspBytes{asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 48, 1, 1}, basic}})
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(s.work, f.Arg(0)+".ocsp"), der, 0o644)
}
