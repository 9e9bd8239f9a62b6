package route

import (
	"cmp"
	"slices"
	"strings"

	"github.com/ginnel/ginnel/extension"
)

// domains finds virtual hosts by name: exact ones first, then the longest suffix, then
// the longest prefix, then "*". However many there are, finding costs one look-up for
// each length of a wildcard.
type domains struct {
	exact    map[string]*VirtualHost
	suffixes []wildcards // longest first
	prefixes []wildcards // longest first
	all      *VirtualHost
	only     bool // there is nothing but all
}

// wildcards are those of one length.
type wildcards struct {
	size  int
	hosts map[string]*VirtualHost
}

// find returns the virtual host of an authority; nil: none.
func (d *domains) find(host string) *VirtualHost {
	switch {
	case d.only:
		return d.all
	case host == "":
		return nil
	}
	host = lowerCase(host)
	if h := d.exact[host]; h != nil {
		return h
	}
	for _, w := range d.suffixes {
		if w.size < len(host) { // a wildcard never stands for nothing
			if h := w.hosts[host[len(host)-w.size:]]; h != nil {
				return h
			}
		}
	}
	for _, w := range d.prefixes {
		if w.size < len(host) {
			if h := w.hosts[host[:w.size]]; h != nil {
				return h
			}
		}
	}
	return d.all
}

// add enters a domain at its place in the configuration.
func (d *domains) add(s *extension.Scope, domain, table string, h *VirtualHost) {
	domain = lowerCase(domain)
	duplicate := false
	switch {
	case domain == "*":
		if d.all != nil {
			s.Errorf("Only a single wildcard domain is permitted in route %s", table)
		}
		d.all = h
		return
	case strings.HasPrefix(domain, "*"):
		duplicate = claim(&d.suffixes, domain[1:], h)
	case strings.HasSuffix(domain, "*"):
		duplicate = claim(&d.prefixes, domain[:len(domain)-1], h)
	default:
		if d.exact == nil {
			d.exact = make(map[string]*VirtualHost)
		}
		duplicate = d.exact[domain] != nil
		d.exact[domain] = h
	}
	if duplicate {
		s.Errorf("Only unique values for domains are permitted. Duplicate entry of domain %s in route %s", domain, table)
	}
}

// claim enters a wildcard and reports whether it was there.
func claim(list *[]wildcards, text string, h *VirtualHost) bool {
	i := slices.IndexFunc(*list, func(w wildcards) bool { return w.size == len(text) })
	if i < 0 {
		i = len(*list)
		*list = append(*list, wildcards{len(text), make(map[string]*VirtualHost)})
	}
	hosts := (*list)[i].hosts
	_, there := hosts[text]
	hosts[text] = h
	return there
}

// done sorts what was added.
func (d *domains) done() {
	longest := func(a, b wildcards) int { return cmp.Compare(b.size, a.size) }
	slices.SortFunc(d.suffixes, longest)
	slices.SortFunc(d.prefixes, longest)
	d.only = d.all != nil && len(d.exact) == 0 && len(d.suffixes) == 0 && len(d.prefixes) == 0
}

// lowerCase turns ASCII letters to lower case; it allocates only where there are others.
func lowerCase(s string) string {
	for i := range len(s) {
		if 'A' <= s[i] && s[i] <= 'Z' {
			return lowered(s)
		}
	}
	return s
}

func lowered(s string) string {
	b := []byte(s)
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			b[i] = c + 'a' - 'A'
		}
	}
	return string(b)
}
