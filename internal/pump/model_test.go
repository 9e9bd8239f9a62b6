package pump

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	"github.com/ginnel/ginnel/filter"
)

// random returns n bytes that depend on the seed alone.
func random(seed uint64, n int) []byte {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8), byte(seed >> 16)}).Read(b)
	return b
}

// scatter writes b in pieces of random sizes.
func scatter(rnd *rand.Rand, w io.Writer, b []byte, most int) error {
	for len(b) > 0 {
		n := min(len(b), 1+rnd.IntN(1+rnd.IntN(most)))
		if _, err := w.Write(b[:n]); err != nil {
			return err
		}
		b = b[n:]
	}
	return nil
}

func TestBulkBothWays(t *testing.T) {
	size := 64 << 20
	if testing.Short() || raceEnabled {
		size = 8 << 20
	}
	all := append([]string{"other", "unix", looped, "looped unix"}, kinds...)
	for _, down := range all {
		for _, up := range all {
			for _, limit := range []int{0, 5000} {
				if limit != 0 && (strings.HasSuffix(down, "unix") || strings.HasSuffix(up, "unix")) || strings.HasPrefix(down, looped) != strings.HasPrefix(up, looped) {
					continue
				}
				t.Run(fmt.Sprint(down, "-", up, "-", limit), func(t *testing.T) {
					h := newHop(t)
					h.limits.BufferBytes = limit
					n := size
					if limit != 0 || down == "other" || up == "other" {
						n /= 8
					}
					bulk(t, start(t, down, up, nil, h), n)
				})
			}
		}
	}
}

func bulk(t *testing.T, r *rig, size int) {
	var wg sync.WaitGroup
	for i, s := range [][2]filter.Stream{{r.client, r.host}, {r.host, r.client}} {
		from, to := s[0], s[1]
		b := random(uint64(i), size)
		wg.Go(func() {
			if err := scatter(rand.New(rand.NewPCG(1, uint64(i))), from, b, 300_000); err != nil {
				t.Error(err)
			}
			from.CloseWrite()
		})
		wg.Go(func() {
			if got, err := io.ReadAll(to); err != nil || !bytes.Equal(got, b) {
				t.Errorf("direction %d: read %d of %d bytes, equal %v, %v", i, len(got), size, bytes.Equal(got, b), err)
			}
		})
	}
	wg.Wait()
	if e := r.hop.wait(); e.Cause != filter.DownstreamClosed && e.Cause != filter.UpstreamClosed {
		t.Errorf("%+v", e)
	}
	if up, down := r.hop.moved(); up != uint64(size) || down != uint64(size) {
		t.Errorf("moved %d, %d", up, down)
	}
}

// An actor is one peer of the model: it writes its bytes, then ends in its way. Only
// one that half closes reads, to the end.
type actor struct {
	stream   filter.Stream
	socket   bool
	end      string // half, close, reset
	bytes    []byte
	got      []byte
	gotReset bool
}

func (a *actor) play(t *testing.T, rnd *rand.Rand) {
	var wg sync.WaitGroup
	var rerr error
	if a.end == "half" {
		wg.Go(func() { a.got, rerr = io.ReadAll(a.stream) })
	}
	werr := scatter(rnd, a.stream, a.bytes, 50_000)
	switch a.end {
	case "half":
		a.stream.CloseWrite()
	case "close":
		awaitAcked(t, a.stream)
		a.stream.Close()
	case "reset":
		awaitAcked(t, a.stream)
		a.stream.Reset()
	}
	wg.Wait()
	a.gotReset = outcome(werr) == "reset" || outcome(rerr) == "reset"
	a.stream.Close()
}

// check compares what a has read with what b did.
func (a *actor) check(t *testing.T, b *actor) {
	if a.end != "half" {
		return
	}
	if !bytes.Equal(a.got, b.bytes) {
		t.Errorf("of %s: read %d of %d bytes, prefix %v", b, len(a.got), len(b.bytes), bytes.HasPrefix(b.bytes, a.got))
	}
	// A closed socket answers bytes with a reset, perhaps before its FIN had room.
	either := b.socket && b.end == "close" && len(a.bytes) > 0
	if !either && a.gotReset != (b.end == "reset") {
		t.Errorf("of %s: reset %v", b, a.gotReset)
	}
}

func (a *actor) String() string { return fmt.Sprintf("%s after %d bytes", a.end, len(a.bytes)) }

func (a *actor) causes(closed, reset filter.Cause) []filter.Cause {
	switch {
	case a.end == "reset":
		return []filter.Cause{reset}
	case a.end == "close" && a.socket:
		return []filter.Cause{closed, reset}
	}
	return []filter.Cause{closed}
}

func TestModel(t *testing.T) {
	combinations(t, func(t *testing.T, down, up string) {
		for i := range runs(150) {
			t.Run(fmt.Sprint(i), func(t *testing.T) {
				seed := nextSeed()
				rnd := rand.New(rand.NewPCG(seed, 0))
				r := start(t, down, up, nil)
				ends := []string{"half", "half", "close", "reset"}
				sizes := []int{0, 1, 1000, 100_000, 300_000}
				c := &actor{stream: r.client, socket: down != "pipe", end: ends[rnd.IntN(4)], bytes: random(seed, sizes[rnd.IntN(5)])}
				h := &actor{stream: r.host, socket: up != "pipe", end: ends[rnd.IntN(4)], bytes: random(seed+1, sizes[rnd.IntN(5)])}
				r1, r2 := rand.New(rand.NewPCG(rnd.Uint64(), 1)), rand.New(rand.NewPCG(rnd.Uint64(), 2))
				var wg sync.WaitGroup
				wg.Go(func() { c.play(t, r1) })
				wg.Go(func() { h.play(t, r2) })
				wg.Wait()
				c.check(t, h)
				h.check(t, c)
				e := r.hop.wait()
				may := append(c.causes(filter.DownstreamClosed, filter.DownstreamReset), h.causes(filter.UpstreamClosed, filter.UpstreamReset)...)
				if c.end == "reset" && h.end == "half" {
					may = may[:1]
				}
				if h.end == "reset" && c.end == "half" {
					may = may[len(may)-1:]
				}
				ok := false
				for _, m := range may {
					ok = ok || e.Cause == m
				}
				if !ok {
					t.Errorf("client %s, host %s: ended %+v", c, h, e)
				}
				if t.Failed() {
					t.Logf("seed %d, client %s, host %s, ended %+v", seed, c, h, e)
				}
			})
		}
	})
}
