package lb

import (
	"cmp"
	"math"
	"slices"
	"strconv"

	"github.com/cespare/xxhash/v2"

	"github.com/ginnel/ginnel/filter"
)

// A ring is a ketama-like hash ring: a hash belongs to the host of the next point.
type ring struct {
	points []point // by hash
	hosts  []*filter.Host
	stats  TableStats
}

type point struct {
	hash uint64
	host uint32 // index
}

// newRing gives each host points in proportion to its share, the smallest one a
// whole number of them.
func newRing(in []share, minSize, maxSize uint64, murmur bool) *ring {
	least := 1.0
	for _, s := range in {
		least = min(least, s.part)
	}
	scale := min(math.Ceil(least*float64(minSize))/least, float64(maxSize))
	size := uint64(math.Ceil(scale))
	r := &ring{points: make([]point, 0, size), stats: TableStats{Size: size, Least: size}}
	// Shares are rarely whole numbers of points: running sums keep the error below 1.
	var have, want float64
	for i, s := range in {
		r.hosts = append(r.hosts, s.host)
		want += scale * s.part
		key := append([]byte(s.key), '_')
		n := uint64(0)
		for ; have < want; have++ {
			r.points = append(r.points, point{hashPoint(strconv.AppendUint(key, n, 10), murmur), uint32(i)})
			n++
		}
		r.stats.note(n)
	}
	slices.SortFunc(r.points, func(a, b point) int { return cmp.Compare(a.hash, b.hash) })
	return r
}

func hashPoint(key []byte, murmur bool) uint64 {
	if murmur {
		return murmur2(key)
	}
	return xxhash.Sum64(key)
}

func (r *ring) find(hash uint64) *filter.Host {
	lo, hi := 0, len(r.points)
	for lo < hi {
		if mid := (lo + hi) / 2; r.points[mid].hash < hash {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	if lo == len(r.points) {
		lo = 0
	}
	return r.hosts[r.points[lo].host]
}

func (r *ring) describe() TableStats { return r.stats }
