package httpmatch

import (
	"strconv"
	"strings"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"

	"github.com/ginnel/ginnel/extension"
	"github.com/ginnel/ginnel/httpmsg"
)

// A Header judges by one header. Lines of it are looked at one by one: one that fits is
// enough, and with invert_match one that fits is one too many.
type Header struct {
	name    string            // lower case
	value   func(string) bool // nil: only presence counts
	absent  bool              // without value: the header must not be there
	invert  bool
	orEmpty bool // a missing header is an empty one
}

// Headers judge together: all must be content.
type Headers []Header

// CompileHeader compiles a header matcher.
func CompileHeader(s *extension.Scope, m *routev3.HeaderMatcher) Header {
	if m == nil {
		s.Errorf("is required")
		return Header{value: never}
	}
	headerFields.Check(s, m)
	h := Header{name: strings.ToLower(m.Name), invert: m.InvertMatch, orEmpty: m.TreatMissingHeaderAsEmpty}
	switch x := m.HeaderMatchSpecifier.(type) {
	case nil:
	case *routev3.HeaderMatcher_PresentMatch:
		h.absent = !x.PresentMatch
	case *routev3.HeaderMatcher_StringMatch:
		h.value = String(s.Field("string_match"), x.StringMatch)
	case *routev3.HeaderMatcher_ExactMatch:
		h.value = exact(x.ExactMatch, false)
	case *routev3.HeaderMatcher_PrefixMatch:
		h.value = prefix(x.PrefixMatch, false)
	case *routev3.HeaderMatcher_SuffixMatch:
		h.value = suffix(x.SuffixMatch, false)
	case *routev3.HeaderMatcher_ContainsMatch:
		h.value = contains(x.ContainsMatch, false)
	case *routev3.HeaderMatcher_SafeRegexMatch:
		h.value = Regex(s.Field("safe_regex_match"), x.SafeRegexMatch)
	case *routev3.HeaderMatcher_RangeMatch:
		from, to := x.RangeMatch.GetStart(), x.RangeMatch.GetEnd()
		h.value = func(v string) bool {
			n, err := strconv.ParseInt(v, 10, 64)
			return err == nil && n >= from && n < to
		}
	}
	return h
}

// CompileHeaders compiles a list of header matchers.
func CompileHeaders(s *extension.Scope, list []*routev3.HeaderMatcher) Headers {
	var hs Headers
	for i, m := range list {
		hs = append(hs, CompileHeader(s.Index(i), m))
	}
	return hs
}

// Request judges a request, of which pseudo headers are headers, too.
func (hs Headers) Request(r *httpmsg.Request) bool {
	for i := range hs {
		if !hs[i].Request(r) {
			return false
		}
	}
	return true
}

// Request judges a request, of which pseudo headers are headers, too.
func (h *Header) Request(r *httpmsg.Request) bool {
	if strings.HasPrefix(h.name, ":") || h.name == "host" {
		return h.single(r.Lookup(h.name))
	}
	return h.Lines(r.Header)
}

// Response judges a response; :status is a header, too.
func (h *Header) Response(r *httpmsg.Response) bool {
	if h.name == ":status" {
		return h.single(strconv.Itoa(r.Status), true)
	}
	return h.Lines(r.Header)
}

// Lines judges headers alone, as trailers.
func (h *Header) Lines(lines httpmsg.Header) bool {
	if h.value == nil {
		return h.present(lines.Has(h.name))
	}
	found := false
	for i := range lines {
		if lines[i].Name != h.name {
			continue
		}
		if h.value(lines[i].Value) {
			return !h.invert
		}
		found = true
	}
	return h.none(found)
}

func (h *Header) single(v string, found bool) bool {
	switch {
	case h.value == nil:
		return h.present(found)
	case found && h.value(v):
		return !h.invert
	}
	return h.none(found)
}

// present judges by presence; a header that counts as empty is there.
func (h *Header) present(found bool) bool { return ((found || h.orEmpty) != h.absent) != h.invert }

// none judges where no line fits: a header that is missing never matches, unless it
// counts as empty (Envoy).
func (h *Header) none(found bool) bool {
	switch {
	case found:
		return h.invert
	case h.orEmpty:
		return h.value("") != h.invert
	}
	return false
}
