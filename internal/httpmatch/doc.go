// Package httpmatch judges requests by parts of them: headers, query parameters,
// cookies, metadata, filter state; and text by itself.
//
// A matcher is compiled from its message once, is immutable, and decides without
// allocating (regular expressions over bytes beyond ASCII excepted). Who compiles one
// passes the scope of its message; faults are reported there, and what is returned then
// matches nothing.
package httpmatch

import (
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"

	"github.com/ginnel/ginnel/extension"
)

var (
	stringFields = extension.Fields{
		Message: &matcherv3.StringMatcher{},
		Obeyed:  []string{"exact", "prefix", "suffix", "contains", "safe_regex", "ignore_case"},
	}
	regexFields = extension.Fields{
		Message: &matcherv3.RegexMatcher{},
		Obeyed:  []string{"regex"},
		Ignored: map[string]string{"google_re2": "it names the only engine there is"},
	}
	substituteFields = extension.Fields{
		Message: &matcherv3.RegexMatchAndSubstitute{},
		Obeyed:  []string{"pattern", "substitution"},
	}
	headerFields = extension.Fields{
		Message: &routev3.HeaderMatcher{},
		Obeyed: []string{"name", "exact_match", "safe_regex_match", "range_match", "present_match", "prefix_match",
			"suffix_match", "contains_match", "string_match", "invert_match", "treat_missing_header_as_empty"},
	}
	queryFields = extension.Fields{
		Message: &routev3.QueryParameterMatcher{},
		Obeyed:  []string{"name", "string_match", "present_match"},
	}
	cookieFields = extension.Fields{
		Message: &routev3.CookieMatcher{},
		Obeyed:  []string{"name", "string_match", "invert_match"},
	}
	metadataFields = extension.Fields{
		Message: &matcherv3.MetadataMatcher{},
		Obeyed:  []string{"filter", "path", "value", "invert"},
	}
	valueFields = extension.Fields{
		Message: &matcherv3.ValueMatcher{},
		Obeyed: []string{"null_match", "double_match", "string_match", "bool_match", "present_match",
			"list_match", "or_match"},
	}
	filterStateFields = extension.Fields{
		Message: &matcherv3.FilterStateMatcher{},
		Obeyed:  []string{"key", "string_match", "address_match"},
	}
	addressFields = extension.Fields{
		Message: &matcherv3.AddressMatcher{},
		Obeyed:  []string{"ranges", "invert_match"},
	}
)

// Support returns what is done with the fields of the messages read here.
func Support() []*extension.Fields {
	return []*extension.Fields{
		&stringFields, &regexFields, &substituteFields, &headerFields, &queryFields, &cookieFields,
		&metadataFields, &valueFields, &filterStateFields, &addressFields,
	}
}
