package tlssocket

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/internal/inproc/pipe"
	"github.com/ginnel/ginnel/internal/netconn"
	"golang.org/x/sys/unix"
)

// pairs are connections of both kinds, under TLS of both versions.
func pairs(t *testing.T, f func(t *testing.T, client, server *Conn)) {
	ca := issue(t, nil, authority)
	leaf := issue(t, ca, func(c *x509.Certificate) { c.DNSNames = []string{"a.example"} })
	cert := &certificate{Certificate: tls.Certificate{Certificate: [][]byte{leaf.Raw}, PrivateKey: leaf.key, Leaf: leaf.Certificate}, ecdsa: true}
	for kind, connect := range map[string]func(testing.TB) (a, b filter.Stream){"sockets": sockets, "pipe": pipeEnds} {
		for version, v := range map[string]uint16{"1.2": tls.VersionTLS12, "1.3": tls.VersionTLS13} {
			t.Run(kind+" "+version, func(t *testing.T) {
				a, b := connect(t)
				cfg := &tls.Config{Certificates: []tls.Certificate{cert.Certificate}, MaxVersion: v, InsecureSkipVerify: true}
				wa, wb := newWire(a), newWire(b)
				client, server := &Conn{wire: wa, tls: tls.Client(wa, cfg)}, &Conn{wire: wb, tls: tls.Server(wb, cfg)}
				shaken := make(chan error, 1)
				go func() { shaken <- shake(server, time.Now().Add(10*time.Second), nil) }()
				if err := errors.Join(shake(client, time.Now().Add(10*time.Second), nil), <-shaken); err != nil {
					t.Fatal(err)
				}
				defer client.Close()
				defer server.Close()
				f(t, client, server)
			})
		}
	}
}

func sockets(t testing.TB) (a, b filter.Stream) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	one, err1 := netconn.New(fds[0], nil, nil)
	two, err2 := netconn.New(fds[1], nil, nil)
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	return one, two
}

func pipeEnds(testing.TB) (a, b filter.Stream) {
	return pipe.New(pipe.Options{})
}

func TestBytes(t *testing.T) {
	pairs(t, func(t *testing.T, client, server *Conn) {
		want := bytes.Repeat([]byte("0123456789abcdef"), 1<<16) // 1 MiB
		sent := make(chan error, 1)
		go func() {
			var err error
			for rest := want; len(rest) > 0 && err == nil; { // of all sizes
				n := min(len(rest), 1+len(rest)%(300<<10))
				_, err = client.Write(rest[:n])
				rest = rest[n:]
			}
			sent <- errors.Join(err, client.CloseWrite())
		}()
		got, err := io.ReadAll(server)
		if err := errors.Join(err, <-sent); err != nil || !bytes.Equal(got, want) {
			t.Fatalf("%d of %d bytes, %v", len(got), len(want), err)
		}
		if _, err := server.Write([]byte("late")); err != nil { // the other direction goes on
			t.Fatal(err)
		}
		b := make([]byte, 4)
		if _, err := io.ReadFull(client, b); err != nil || string(b) != "late" {
			t.Errorf("%q, %v", b, err)
		}
		if server.wire.in != nil || client.wire.out != nil {
			t.Error("memory is held with nothing in it")
		}
	})
}

func TestPeek(t *testing.T) {
	pairs(t, func(t *testing.T, client, server *Conn) {
		if _, err := client.Write([]byte("he")); err != nil {
			t.Fatal(err)
		}
		b := make([]byte, 16)
		if n, err := server.Peek(b, 0); err != nil || string(b[:n]) != "he" {
			t.Fatalf("%q, %v", b[:n], err)
		}
		if _, err := client.Write([]byte("llo")); err != nil {
			t.Fatal(err)
		}
		if n, err := server.Peek(b, 2); err != nil || string(b[:n]) != "hello" {
			t.Fatalf("%q, %v", b[:n], err)
		}
		client.Close()
		if n, err := server.Peek(b, 5); err != io.EOF || string(b[:n]) != "hello" {
			t.Fatalf("%q, %v", b[:n], err)
		}
		if got, err := io.ReadAll(server); err != nil || string(got) != "hello" {
			t.Errorf("read %q, %v", got, err)
		}
	})
}

// Await waits when there is nothing, and never when there is something to be read.
func TestAwait(t *testing.T) {
	pairs(t, func(t *testing.T, client, server *Conn) {
		b := make([]byte, 3)
		for _, text := range []string{"hello", "abcabc", "a"} { // also ends within a record, and with one
			if _, err := client.Write([]byte(text)); err != nil {
				t.Fatal(err)
			}
			if _, err := client.Write([]byte(text)); err != nil {
				t.Fatal(err)
			}
			for got := ""; got != text+text; {
				server.Await()
				n, err := server.Read(b)
				if err != nil {
					t.Fatalf("%q and then %v", got, err)
				}
				got += string(b[:n])
			}
		}
		if !server.dry.Load() {
			t.Error("it would not wait")
		}
		back := make(chan struct{})
		go func() { server.Await(); close(back) }()
		if _, err := client.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		<-back
		if n, err := server.Read(b); n != 1 || err != nil {
			t.Error(n, err)
		}
		client.Reset()
		for range 2 {
			server.Await()
			if _, err := server.Read(b); err == nil {
				t.Error("nothing is to be read after a reset")
			}
		}
	})
}

// A deadline that interrupts a read costs nothing that comes later.
func TestReadDeadline(t *testing.T) {
	pairs(t, func(t *testing.T, client, server *Conn) {
		server.SetReadDeadline(time.Unix(1, 0))
		b := make([]byte, 5)
		if _, err := server.Read(b); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatal(err)
		}
		server.SetReadDeadline(time.Time{})
		client.Write([]byte("after"))
		if _, err := io.ReadFull(server, b); err != nil || string(b) != "after" {
			t.Errorf("%q, %v", b, err)
		}
	})
}

// A peer that reads nothing does not keep Close waiting, with a write under way or not.
func TestCloseDoesNotWait(t *testing.T) {
	pairs(t, func(t *testing.T, client, server *Conn) {
		wrote := make(chan error, 1)
		go func() {
			var err error
			for err == nil {
				_, err = client.Write(make([]byte, 1<<20))
			}
			wrote <- err
		}()
		b := make([]byte, 1)
		if _, err := server.Read(b); err != nil {
			t.Fatal(err)
		}
		client.Close()
		if err := <-wrote; err == nil {
			t.Error("the write went through")
		}
	})
}

// A write that there is no room for says so, asks at its deadline, and goes on where it was or
// ends for good.
func TestWatchedWrite(t *testing.T) {
	enough := errors.New("enough")
	for _, verdict := range []error{nil, enough} {
		pairs(t, func(t *testing.T, client, server *Conn) {
			if client.wire.raw == nil {
				t.Skip("a pipe tells by itself")
			}
			full, late, wrote := make(chan struct{}, 1), make(chan struct{}, 1), make(chan error, 1)
			client.OnFull(func() {
				select {
				case full <- struct{}{}:
				default:
				}
			}, func() error {
				client.SetWriteDeadline(time.Time{})
				late <- struct{}{}
				return verdict
			})
			data := make([]byte, 4<<20)
			for i := range data {
				data[i] = byte(i % 251)
			}
			go func() {
				_, err := client.Write(data)
				wrote <- err
			}()
			<-full
			client.SetWriteDeadline(time.Unix(1, 0))
			<-late
			if verdict != nil {
				if err := <-wrote; err != enough {
					t.Error(err)
				}
				if _, err := client.Write(data[:1]); err == nil {
					t.Error("there was another write behind half a record")
				}
				return
			}
			got := make([]byte, len(data))
			if _, err := io.ReadFull(server, got); err != nil || !bytes.Equal(got, data) {
				t.Error("what was written has not come", err)
			}
			if err := <-wrote; err != nil {
				t.Error(err)
			}
		})
	}
}

func TestReset(t *testing.T) {
	pairs(t, func(t *testing.T, client, server *Conn) {
		if _, ok := client.Below().(*pipe.Conn); !ok {
			t.Skip("of sockets only TCP has a reset")
		}
		client.Reset()
		if _, err := server.Read(make([]byte, 1)); err == nil || err == io.EOF || !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("%v", err)
		}
	})
}

func TestStamps(t *testing.T) {
	now := time.Now()
	one, two := [32]byte{1}, [32]byte{2}
	stamp := [][]byte{[]byte("of others"), sessionStamp(one, now)}
	if !stampHolds(stamp, one, 0, now.Add(time.Hour)) || !stampHolds(stamp, one, time.Minute, now.Add(time.Second)) {
		t.Error("a good session is refused")
	}
	if stampHolds(stamp, two, 0, now) || stampHolds(stamp, one, time.Minute, now.Add(time.Hour)) || stampHolds(nil, one, 0, now) {
		t.Error("a session of another context, or too old, is resumed")
	}
}
