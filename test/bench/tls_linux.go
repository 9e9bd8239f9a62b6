package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"
)

// makeCertificates writes an authority, and by it the certificates of a server and of a
// client, all with ECDSA P-256 keys.
func makeCertificates(dir string) error {
	ca := &x509.Certificate{IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	caKey, err := certify(dir, "ca", 1, ca, nil, nil)
	if err != nil {
		return err
	}
	for i, name := range []string{"server", "client"} {
		c := &x509.Certificate{
			DNSNames: []string{"bench.example"}, KeyUsage: x509.KeyUsageDigitalSignature,
			ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		}
		if _, err := certify(dir, name, int64(i)+2, c, ca, caKey); err != nil {
			return err
		}
	}
	return nil
}

// certify writes c and its key; by nil: signed by itself.
func certify(dir, name string, serial int64, c, by *x509.Certificate, byKey *ecdsa.PrivateKey) (*ecdsa.PrivateKey, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	c.SerialNumber, c.Subject = big.NewInt(serial), pkix.Name{CommonName: name}
	c.NotBefore, c.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(24*time.Hour)
	if by == nil {
		by, byKey = c, key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, by, key.Public(), byKey)
	if err != nil {
		return nil, err
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	if err := writePEM(filepath.Join(dir, name+".pem"), "CERTIFICATE", der); err != nil {
		return nil, err
	}
	return key, writePEM(filepath.Join(dir, name+".key"), "PRIVATE KEY", secret)
}

func writePEM(file, kind string, der []byte) error {
	return os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600)
}

// clientTLS is a client of TLS 1.3 with a certificate. It resumes no sessions.
func clientTLS(dir string) (*tls.Config, error) {
	pair, err := tls.LoadX509KeyPair(filepath.Join(dir, "client.pem"), filepath.Join(dir, "client.key"))
	if err != nil {
		return nil, err
	}
	text, err := os.ReadFile(filepath.Join(dir, "ca.pem"))
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(text)
	return &tls.Config{MinVersion: tls.VersionTLS13, ServerName: "bench.example", RootCAs: roots, Certificates: []tls.Certificate{pair}}, nil
}

// A secureLoad is connections of TLS, each with a goroutine.
type secureLoad struct {
	ctx    context.Context
	addr   string
	cfg    *tls.Config
	counts *counts
	still  atomic.Int64 // flows that did nothing while counts.measuring

	mu      sync.Mutex
	connect histogram
}

// runTLS is run for jobs behind TLS: bulk, and connections that come and go.
func (g *generator) runTLS(j *job) (*answer, error) {
	cfg, err := clientTLS(j.Certs)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var c counts
	l := &secureLoad{ctx: ctx, addr: j.Addr, cfg: cfg, counts: &c}
	failed := make(chan error, j.Down+j.Up+j.Connects)
	var flows sync.WaitGroup
	serve := func(n int, round func() (moved bool, err error)) {
		for range n {
			flows.Go(func() {
				if err := l.flow(round); err != nil {
					failed <- err
				}
			})
		}
	}
	serve(j.Down, l.down)
	serve(j.Up, l.up)
	serve(j.Connects, l.handshake)
	a, err := g.measure(j, &c, failed)
	cancel()
	flows.Wait()
	if err != nil {
		return nil, err
	}
	a.Still, a.Connect = int(l.still.Load()), l.connect.latency()
	return a, stalled(j, a)
}

// flow goes on until the load ends.
func (l *secureLoad) flow(round func() (bool, error)) error {
	moved := false
	for {
		m, err := round()
		moved = moved || m
		if l.ctx.Err() == nil && err == nil {
			continue
		}
		if !moved {
			l.still.Add(1)
		}
		if l.ctx.Err() != nil {
			return nil
		}
		return err
	}
}

// dial connects; the end of the load closes what it returns.
func (l *secureLoad) dial() (c *tls.Conn, stop func() bool, err error) {
	raw, err := net.Dial("tcp4", l.addr)
	if err != nil {
		return nil, nil, err
	}
	return tls.Client(raw, l.cfg), context.AfterFunc(l.ctx, func() { raw.Close() }), nil
}

// down reads what the backend sends without end.
func (l *secureLoad) down() (moved bool, err error) {
	return l.bulk(modeFlow, func(c *tls.Conn, b []byte) (int, error) {
		n, err := c.Read(b)
		l.counts.bytes.Add(int64(n))
		return n, err
	})
}

// up writes without end; the backend counts.
func (l *secureLoad) up() (moved bool, err error) { return l.bulk(modeSink, (*tls.Conn).Write) }

// bulk asks the backend for a mode, and then moves bytes until that fails.
func (l *secureLoad) bulk(mode byte, move func(*tls.Conn, []byte) (int, error)) (moved bool, err error) {
	c, stop, err := l.dial()
	if err != nil {
		return false, err
	}
	defer stop()
	defer c.NetConn().Close()
	if _, err := c.Write([]byte{mode}); err != nil {
		return false, fmt.Errorf("first write: %w", err)
	}
	for buf := make([]byte, bulkWrite); ; {
		n, err := move(c, buf)
		moved = moved || n > 0 && l.counts.measuring.Load()
		if err != nil {
			return moved, fmt.Errorf("bulk: %w", err)
		}
	}
}

// handshake is one connection with one byte there and back.
func (l *secureLoad) handshake() (moved bool, err error) {
	begun := time.Now()
	c, stop, err := l.dial()
	if err != nil {
		return false, err
	}
	defer stop()
	defer c.Close()
	b := []byte{modeEcho}
	if _, err := c.Write(b); err != nil {
		return false, fmt.Errorf("handshake: %w", err)
	}
	if _, err := io.ReadFull(c, b); err != nil {
		return false, fmt.Errorf("read: %w", err)
	}
	l.counts.connects.Add(1)
	if !l.counts.measuring.Load() {
		return false, nil
	}
	l.mu.Lock()
	l.connect.add(int64(time.Since(begun)))
	l.mu.Unlock()
	return true, nil
}
