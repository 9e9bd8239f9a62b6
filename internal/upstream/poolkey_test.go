package upstream

import (
	"testing"

	"github.com/ginnel/ginnel/filter"
)

// plain has a text like text, but is of another type.
type plain string

func (p plain) Serialize() (string, bool) { return string(p), true }

// list cannot be compared.
type list []int

func (list) Serialize() (string, bool) { return "", false }

func TestPoolKey(t *testing.T) {
	h, other := &filter.Host{}, &filter.Host{}
	once := func(name string, o filter.Object) filter.Entry {
		return filter.Entry{Name: name, Object: o, Sharing: filter.SharedOnce}
	}
	transitive := func(name string, o filter.Object) filter.Entry {
		return filter.Entry{Name: name, Object: o, Sharing: filter.SharedTransitive}
	}
	x, y := &opaque{1}, &opaque{1}
	type entries = []filter.Entry
	key := func(e entries) PoolKey { return NewPoolKey(h, "sni", e) }
	for name, c := range map[string]struct {
		a, b  PoolKey
		equal bool
	}{
		"nothing shared":          {key(nil), key(nil), true},
		"another host":            {key(nil), NewPoolKey(other, "sni", nil), false},
		"other options":           {key(nil), NewPoolKey(h, "other", nil), false},
		"equal texts":             {key(entries{once("user", text("alice"))}), key(entries{once("user", text("alice"))}), true},
		"other texts":             {key(entries{once("user", text("alice"))}), key(entries{once("user", text("bob"))}), false},
		"with and without":        {key(entries{once("user", text("alice"))}), key(nil), false},
		"empty is not absent":     {key(entries{once("user", text(""))}), key(nil), false},
		"other names":             {key(entries{once("a", text("x"))}), key(entries{once("b", text("x"))}), false},
		"other types":             {key(entries{once("a", text("x"))}), key(entries{once("a", plain("x"))}), false},
		"other sharing":           {key(entries{once("a", text("x"))}), key(entries{transitive("a", text("x"))}), false},
		"two that look like one":  {key(entries{once("a", text("x")), once("b", text("y"))}), key(entries{once("a", text(`x1:b1:upstream.text:1:y`))}), false},
		"same object, no text":    {key(entries{once("a", x)}), key(entries{once("a", x)}), true},
		"alike objects, no text":  {key(entries{once("a", x)}), key(entries{once("a", y)}), false},
		"same, among others":      {key(entries{once("a", x), once("b", y)}), key(entries{once("a", x), once("b", y)}), true},
		"swapped":                 {key(entries{once("a", x), once("b", y)}), key(entries{once("a", y), once("b", x)}), false},
		"object, under two names": {key(entries{once("a", x)}), key(entries{once("b", x)}), false},
		"object, other sharing":   {key(entries{once("a", x)}), key(entries{transitive("a", x)}), false},
		"not comparable":          {key(entries{once("a", list{1})}), key(entries{once("a", list{1})}), false},
	} {
		if got := c.a == c.b; got != c.equal {
			t.Errorf("%s: equal %v", name, got)
		}
		if m := (map[PoolKey]int{c.a: 1}); (m[c.b] == 1) != c.equal {
			t.Errorf("%s: as map keys", name)
		}
	}
}
