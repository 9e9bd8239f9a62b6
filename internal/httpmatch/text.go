package httpmatch

import (
	"strings"

	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"

	"github.com/ginnel/ginnel/extension"
)

// String compiles a matcher of text. Case is that of ASCII, as in Envoy.
func String(s *extension.Scope, m *matcherv3.StringMatcher) func(string) bool {
	if m == nil {
		s.Errorf("is required")
		return never
	}
	stringFields.Check(s, m)
	fold := m.IgnoreCase
	switch x := m.MatchPattern.(type) {
	case *matcherv3.StringMatcher_Exact:
		return exact(x.Exact, fold)
	case *matcherv3.StringMatcher_Prefix:
		return prefix(x.Prefix, fold)
	case *matcherv3.StringMatcher_Suffix:
		return suffix(x.Suffix, fold)
	case *matcherv3.StringMatcher_Contains:
		return contains(x.Contains, fold)
	case *matcherv3.StringMatcher_SafeRegex:
		if fold {
			s.Field("ignore_case").Errorf("ignore_case has no effect for safe_regex.")
		}
		return Regex(s.Field("safe_regex"), x.SafeRegex)
	case nil:
		s.Errorf("a match pattern is required")
	}
	return never
}

func never(string) bool { return false }

func exact(want string, fold bool) func(string) bool {
	if fold {
		return func(v string) bool { return EqualFold(v, want) }
	}
	return func(v string) bool { return v == want }
}

func prefix(want string, fold bool) func(string) bool {
	if fold {
		return func(v string) bool { return HasPrefixFold(v, want) }
	}
	return func(v string) bool { return strings.HasPrefix(v, want) }
}

func suffix(want string, fold bool) func(string) bool {
	if fold {
		return func(v string) bool { return len(v) >= len(want) && EqualFold(v[len(v)-len(want):], want) }
	}
	return func(v string) bool { return strings.HasSuffix(v, want) }
}

func contains(want string, fold bool) func(string) bool {
	if fold {
		return func(v string) bool { return containsFold(v, want) }
	}
	return func(v string) bool { return strings.Contains(v, want) }
}

// EqualFold reports whether a and b are equal but for the case of ASCII letters.
func EqualFold(a, b string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range len(a) {
		if lower(a[i]) != lower(b[i]) {
			return false
		}
	}
	return true
}

// HasPrefixFold reports whether s begins with p but for the case of ASCII letters.
func HasPrefixFold(s, p string) bool { return len(s) >= len(p) && EqualFold(s[:len(p)], p) }

func containsFold(s, part string) bool {
	for ; len(s) >= len(part); s = s[1:] {
		if EqualFold(s[:len(part)], part) {
			return true
		}
		if s == "" {
			break
		}
	}
	return false
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}
