package tlssocket

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/des"
	"crypto/pbkdf2"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"fmt"
	"hash"
	"strings"
)

// BoringSSL's errors of private keys that are encrypted.
var (
	errNoPassword = errors.New("error:09000068:PEM routines:OPENSSL_internal:BAD_PASSWORD_READ")
	errDecrypt    = errors.New("error:1e000065:Cipher functions:OPENSSL_internal:BAD_DECRYPT")
)

// decryptKey returns a PEM text with its first private key, if that is encrypted, in the clear.
// password is not looked at where it is not.
func decryptKey(text []byte, password string) ([]byte, error) {
	for rest := text; ; {
		var b *pem.Block
		if b, rest = pem.Decode(rest); b == nil {
			return text, nil // crypto/tls says that there is none
		}
		old := x509.IsEncryptedPEMBlock(b) // RFC 1423, which openssl still writes for -traditional
		switch {
		case !strings.HasSuffix(b.Type, "PRIVATE KEY"):
			continue
		case b.Type != "ENCRYPTED PRIVATE KEY" && !old:
			return text, nil
		case password == "":
			return nil, errNoPassword
		}
		decrypt := decryptPKCS8
		if old {
			decrypt = decryptRFC1423
		}
		clear, err := decrypt(b, password)
		if err != nil {
			return nil, err
		}
		return pem.EncodeToMemory(clear), nil
	}
}

func decryptRFC1423(b *pem.Block, password string) (*pem.Block, error) {
	der, err := x509.DecryptPEMBlock(b, []byte(password))
	clear := &pem.Block{Type: b.Type, Bytes: der}
	switch {
	case errors.Is(err, x509.IncorrectPasswordError), err == nil && !isKey(pem.EncodeToMemory(clear)):
		return nil, errDecrypt // a wrong password may happen to leave good padding
	case err != nil:
		return nil, err
	}
	return clear, nil
}

// Structures of RFC 5958, 3, and of RFC 8018, A.2 and A.4.
type (
	encryptedKey struct {
		Algorithm pkix.AlgorithmIdentifier
		Data      []byte
	}
	pbes2Params struct {
		KeyDerivation, Encryption pkix.AlgorithmIdentifier
	}
	pbkdf2Params struct {
		Salt       []byte
		Iterations int
		KeyBytes   int                      `asn1:"optional"`
		Hash       pkix.AlgorithmIdentifier `asn1:"optional"`
	}
)

var (
	oidPBES2  = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 5, 13}
	oidPBKDF2 = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 5, 12}
)

// hashes and blockCiphers are those of BoringSSL, by OID.
var (
	hashes = map[string]func() hash.Hash{
		"":                   sha1.New, // the default
		"1.2.840.113549.2.7": sha1.New,
		"1.2.840.113549.2.9": sha256.New,
	}
	blockCiphers = map[string]struct {
		keyBytes int
		make     func(key []byte) (cipher.Block, error)
	}{
		"1.2.840.113549.3.7":      {24, des.NewTripleDESCipher},
		"2.16.840.1.101.3.4.1.2":  {16, aes.NewCipher},
		"2.16.840.1.101.3.4.1.22": {24, aes.NewCipher},
		"2.16.840.1.101.3.4.1.42": {32, aes.NewCipher},
	}
)

// mostIterations is BoringSSL's bound.
const mostIterations = 100_000_000

// decryptPKCS8 decrypts by PBES2 with PBKDF2: openssl pkcs8 -topk8 writes it.
func decryptPKCS8(b *pem.Block, password string) (*pem.Block, error) {
	var x encryptedKey
	if _, err := asn1.Unmarshal(b.Bytes, &x); err != nil {
		return nil, err
	}
	if !x.Algorithm.Algorithm.Equal(oidPBES2) {
		return nil, fmt.Errorf("encryption %v is not known: openssl pkcs8 -topk8 -v2 aes-256-cbc makes one that is", x.Algorithm.Algorithm)
	}
	var p pbes2Params
	if _, err := asn1.Unmarshal(x.Algorithm.Parameters.FullBytes, &p); err != nil {
		return nil, err
	}
	mode, err := p.decrypter(password)
	if err != nil {
		return nil, err
	}
	size := mode.BlockSize()
	if len(x.Data) == 0 || len(x.Data)%size != 0 {
		return nil, errDecrypt
	}
	der := bytes.Clone(x.Data)
	mode.CryptBlocks(der, der)
	pad := int(der[len(der)-1])
	if pad == 0 || pad > size {
		return nil, errDecrypt
	}
	der = der[:len(der)-pad]
	if _, err := x509.ParsePKCS8PrivateKey(der); err != nil {
		return nil, errDecrypt
	}
	return &pem.Block{Type: "PRIVATE KEY", Bytes: der}, nil
}

func (p *pbes2Params) decrypter(password string) (cipher.BlockMode, error) {
	if !p.KeyDerivation.Algorithm.Equal(oidPBKDF2) {
		return nil, errors.New("error:13000080:PKCS8 routines:OPENSSL_internal:UNSUPPORTED_KEY_DERIVATION_FUNCTION")
	}
	var k pbkdf2Params
	if _, err := asn1.Unmarshal(p.KeyDerivation.Parameters.FullBytes, &k); err != nil {
		return nil, err
	}
	h, c := hashes[k.Hash.Algorithm.String()], blockCiphers[p.Encryption.Algorithm.String()]
	switch {
	case h == nil:
		return nil, errors.New("error:13000082:PKCS8 routines:OPENSSL_internal:UNSUPPORTED_PRF")
	case c.make == nil:
		return nil, fmt.Errorf("cipher %v is not known", p.Encryption.Algorithm)
	case k.Iterations < 1 || k.Iterations > mostIterations:
		return nil, fmt.Errorf("PBKDF2 with %d iterations: 1 to %d are expected", k.Iterations, mostIterations)
	case k.KeyBytes != 0 && k.KeyBytes != c.keyBytes:
		return nil, fmt.Errorf("PBKDF2 makes a key of %d bytes for a cipher of %d", k.KeyBytes, c.keyBytes)
	}
	key, err := pbkdf2.Key(h, password, k.Salt, k.Iterations, c.keyBytes)
	if err != nil {
		return nil, err
	}
	block, err := c.make(key)
	if err != nil {
		return nil, err
	}
	var iv []byte
	if _, err := asn1.Unmarshal(p.Encryption.Parameters.FullBytes, &iv); err != nil {
		return nil, err
	}
	if len(iv) != block.BlockSize() {
		return nil, fmt.Errorf("an initialization vector of %d bytes for a cipher of %d", len(iv), block.BlockSize())
	}
	return cipher.NewCBCDecrypter(block, iv), nil
}
