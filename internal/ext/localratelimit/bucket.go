package localratelimit

import (
	"container/list"
	"math"
	"strconv"
	"strings"
	"sync"
	"time"
)

// A bucket holds tokens that come with time, evenly.
type bucket struct {
	size

	mu     sync.Mutex
	tokens float64
	filled time.Time
}

func newBucket(z size) *bucket { return &bucket{size: z, tokens: z.most, filled: time.Now()} }

// fill adds the tokens that time has brought. The caller holds mu.
func (b *bucket) fill() {
	now := time.Now()
	b.tokens = min(b.most, b.tokens+now.Sub(b.filled).Seconds()*b.rate)
	b.filled = now
}

// take takes n tokens, if there are so many.
func (b *bucket) take(n float64) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.fill()
	if b.tokens < n {
		return false
	}
	b.tokens -= n
	return true
}

// left is how many whole tokens there are, and in how many seconds there is one.
func (b *bucket) left() (tokens, seconds uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.fill()
	if b.tokens >= 1 {
		return uint64(b.tokens), 0
	}
	return 0, uint64(math.Ceil((1 - b.tokens) / b.rate))
}

// buckets are those of one configuration: the default one, and those of descriptors.
type buckets struct {
	config  *config
	common  *bucket // nil: none
	fixed   []*bucket
	dynamic []*recent // of descriptors with blanks; nil elsewhere
}

func newBuckets(c *config) *buckets {
	bs := &buckets{config: c, fixed: make([]*bucket, len(c.descriptors)), dynamic: make([]*recent, len(c.descriptors))}
	if c.bucket != nil {
		bs.common = newBucket(*c.bucket)
	}
	for i := range c.descriptors {
		switch d := &c.descriptors[i]; {
		case !d.blank:
			bs.fixed[i] = newBucket(d.size)
		case !c.perConnection:
			bs.dynamic[i] = &recent{most: c.most, size: d.size}
		}
	}
	return bs
}

// find returns the bucket of a request's descriptor; nil: there is none.
func (bs *buckets) find(entries []entry) (b *bucket, shadow bool) {
	blank := -1
	for i := range bs.config.descriptors {
		d := &bs.config.descriptors[i]
		switch {
		case !d.fits(entries):
		case !d.blank:
			return bs.fixed[i], d.shadow
		case blank < 0 && bs.dynamic[i] != nil:
			blank = i
		}
	}
	if blank < 0 {
		return nil, false
	}
	return bs.dynamic[blank].get(entries), bs.config.descriptors[blank].shadow
}

func (d *descriptor) fits(entries []entry) bool {
	if len(entries) != len(d.entries) {
		return false
	}
	for i, e := range d.entries {
		if e.key != entries[i].key || e.value != "" && e.value != entries[i].value {
			return false
		}
	}
	return true
}

// recent is the buckets of a descriptor with blanks: those used last.
type recent struct {
	most int
	size size

	mu    sync.Mutex
	order list.List // of *named, the latest first
	names map[string]*list.Element
}

type named struct {
	name string
	*bucket
}

func (r *recent) get(entries []entry) *bucket {
	var key strings.Builder
	for _, e := range entries {
		key.WriteString(strconv.Itoa(len(e.value)))
		key.WriteByte(':')
		key.WriteString(e.value)
	}
	name := key.String()
	r.mu.Lock()
	defer r.mu.Unlock()
	if e := r.names[name]; e != nil {
		r.order.MoveToFront(e)
		return e.Value.(*named).bucket
	}
	if r.names == nil {
		r.names = make(map[string]*list.Element)
	}
	if len(r.names) >= r.most {
		last := r.order.Back()
		delete(r.names, r.order.Remove(last).(*named).name)
	}
	b := newBucket(r.size)
	r.names[name] = r.order.PushFront(&named{name, b})
	return b
}
