package httpmsg

import "strings"

// A Field is one header line.
type Field struct {
	Name  string // lower case
	Value string // without the blanks around it
	Wire  string // the name as HTTP/1 came with it, or shall send it; "": Name
}

// A Header is header lines in their order; a name may occur more than once. The zero
// value is empty. Names given to its methods are lower case.
type Header []Field

// Get returns the value of the first line of a name; "" if there is none.
func (h Header) Get(name string) string {
	v, _ := h.Lookup(name)
	return v
}

// Lookup returns the value of the first line of a name.
func (h Header) Lookup(name string) (string, bool) {
	if i := h.Index(name); i >= 0 {
		return h[i].Value, true
	}
	return "", false
}

// Has reports whether a name occurs.
func (h Header) Has(name string) bool { return h.Index(name) >= 0 }

// Index returns the place of the first line of a name; -1 if there is none.
func (h Header) Index(name string) int {
	for i := range h {
		if h[i].Name == name {
			return i
		}
	}
	return -1
}

// Values calls yield for each line of a name, in order; it can be ranged over.
func (h Header) Values(name string) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		for i := range h {
			if h[i].Name == name && !yield(h[i].Value) {
				return
			}
		}
	}
}

// Joined returns the values of all lines of a name, separated by a comma alone, as
// Envoy joins them.
func (h Header) Joined(name string) (string, bool) {
	first := h.Index(name)
	if first < 0 {
		return "", false
	}
	out, several := h[first].Value, []string(nil)
	for _, f := range h[first+1:] {
		if f.Name == name {
			if several == nil {
				several = append(several, out)
			}
			several = append(several, f.Value)
		}
	}
	if several != nil {
		out = strings.Join(several, ",")
	}
	return out, true
}

// Add appends a line.
func (h *Header) Add(name, value string) {
	*h = append(*h, Field{})
	f := &(*h)[len(*h)-1] // in place: to copy one that was just made waits until its parts are in memory
	f.Name, f.Value = name, value
}

// Set gives a name one line: the first one it has, else a new last one.
func (h *Header) Set(name, value string) {
	i := h.Index(name)
	if i < 0 {
		h.Add(name, value)
		return
	}
	(*h)[i].Value = value
	h.delFrom(i+1, name)
}

// Del removes all lines of a name and reports whether there were any.
func (h *Header) Del(name string) bool {
	i := h.Index(name)
	if i < 0 {
		return false
	}
	h.delFrom(i, name)
	return true
}

// delFrom removes the lines of a name at i and after.
func (h *Header) delFrom(i int, name string) {
	kept := (*h)[:i]
	for _, f := range (*h)[i:] {
		if f.Name != name {
			kept = append(kept, f)
		}
	}
	clear((*h)[len(kept):])
	*h = kept
}

// Clone returns a copy that shares no lines with h.
func (h Header) Clone() Header { return append(Header(nil), h...) }
