package lb

import (
	"encoding/binary"

	"github.com/cespare/xxhash/v2"

	"github.com/ginnel/ginnel/filter"
)

// A maglev is Google's lookup table: a hash belongs to the host in its slot.
type maglev struct {
	hosts []*filter.Host
	slots []byte // little-endian host numbers of width bytes
	width int
	size  uint64
	stats TableStats
}

// newMaglev fills a table of a prime size. Each host has its own order of slots;
// they take turns, the lighter ones not every round.
func newMaglev(in []share, size uint64) *maglev {
	m := &maglev{hosts: make([]*filter.Host, len(in)), size: size, width: width(len(in))}
	m.stats = TableStats{Size: size, Least: size}
	m.slots = make([]byte, size*uint64(m.width))
	heaviest := 0.0
	rows := make([]row, len(in))
	for i, s := range in {
		m.hosts[i] = s.host
		heaviest = max(heaviest, s.part)
		rows[i] = newRow(s, size)
	}
	taken := make([]bool, size)
	for filled, round := uint64(0), 1.0; filled < size; round++ {
		for i := range rows {
			if filled == size {
				break
			}
			r := &rows[i]
			if round*r.part < r.target {
				continue
			}
			r.target += heaviest
			m.set(r.next(taken), i)
			filled++
		}
	}
	for i := range rows {
		m.stats.note(rows[i].count)
	}
	return m
}

// A row is one host while the table is filled: its order of slots is offset,
// offset+skip, offset+2*skip and so on.
type row struct {
	at, skip, size uint64
	part, target   float64
	count          uint64
}

func newRow(s share, size uint64) row {
	second := xxhash.NewWithSeed(1)
	second.WriteString(s.key)
	return row{at: xxhash.Sum64String(s.key) % size, skip: second.Sum64()%(size-1) + 1, size: size, part: s.part}
}

// next takes the first slot of the order that is free.
func (r *row) next(taken []bool) uint64 {
	for taken[r.at] {
		r.at = (r.at + r.skip) % r.size
	}
	slot := r.at
	taken[slot] = true
	r.count++
	return slot
}

func width(hosts int) int {
	switch {
	case hosts <= 1<<8:
		return 1
	case hosts <= 1<<16:
		return 2
	}
	return 4
}

func (m *maglev) set(slot uint64, host int) {
	b := m.slots[slot*uint64(m.width):]
	switch m.width {
	case 1:
		b[0] = byte(host)
	case 2:
		binary.LittleEndian.PutUint16(b, uint16(host))
	default:
		binary.LittleEndian.PutUint32(b, uint32(host))
	}
}

func (m *maglev) find(hash uint64) *filter.Host {
	b := m.slots[hash%m.size*uint64(m.width):]
	switch m.width {
	case 1:
		return m.hosts[b[0]]
	case 2:
		return m.hosts[binary.LittleEndian.Uint16(b)]
	}
	return m.hosts[binary.LittleEndian.Uint32(b)]
}

func (m *maglev) describe() TableStats { return m.stats }
