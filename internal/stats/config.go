package stats

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	metricsv3 "github.com/envoyproxy/go-control-plane/envoy/config/metrics/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
)

// Configure returns the options that a bootstrap's stats_config (nil: none) and
// the command line's --stats-tag stand for. An error begins with the path of the
// field below stats_config.
func Configure(c *metricsv3.StatsConfig, cli []Tag) (Options, error) {
	var o Options
	rules := make([]TagRule, 0, len(cli)+len(c.GetStatsTags()))
	for _, t := range cli {
		rules = append(rules, TagRule{Tag: t.Name, Fixed: t.Value, IsFixed: true})
	}
	for _, t := range c.GetStatsTags() {
		_, fixed := t.GetTagValue().(*metricsv3.TagSpecifier_FixedValue)
		rules = append(rules, TagRule{Tag: t.GetTagName(), Regex: t.GetRegex(), Fixed: t.GetFixedValue(), IsFixed: fixed})
	}
	noDefaults := c.GetUseAllDefaultTags() != nil && !c.GetUseAllDefaultTags().GetValue()
	var err error
	if o.Tags, err = newTagger(rules, len(cli), noDefaults, c.GetAllowDefaultTagOverrides().GetValue()); err != nil {
		return o, err
	}
	if o.Rejects, err = rejects(c.GetStatsMatcher()); err != nil {
		return o, err
	}
	o.Buckets, err = bucketRules(c.GetHistogramBucketSettings())
	return o, err
}

// rejects returns nil for a matcher that lets everything pass.
func rejects(m *metricsv3.StatsMatcher) (func(string) bool, error) {
	switch m.GetStatsMatcher().(type) {
	case *metricsv3.StatsMatcher_RejectAll:
		if !m.GetRejectAll() {
			return nil, nil
		}
		return func(string) bool { return true }, nil
	case *metricsv3.StatsMatcher_ExclusionList:
		match, err := matchAny(m.GetExclusionList().GetPatterns())
		if err != nil {
			return nil, fmt.Errorf("stats_matcher.exclusion_list.%w", err)
		}
		return match, nil
	case *metricsv3.StatsMatcher_InclusionList:
		match, err := matchAny(m.GetInclusionList().GetPatterns())
		if err != nil {
			return nil, fmt.Errorf("stats_matcher.inclusion_list.%w", err)
		}
		return func(name string) bool { return !match(name) }, nil
	}
	return nil, nil
}

func matchAny(patterns []*matcherv3.StringMatcher) (func(string) bool, error) {
	ms := make([]func(string) bool, len(patterns))
	for i, p := range patterns {
		var err error
		if ms[i], err = stringMatcher(p); err != nil {
			return nil, fmt.Errorf("patterns[%d]: %w", i, err)
		}
	}
	return func(s string) bool {
		return slices.ContainsFunc(ms, func(m func(string) bool) bool { return m(s) })
	}, nil
}

func stringMatcher(m *matcherv3.StringMatcher) (func(string) bool, error) {
	fold := func(s string) string { return s }
	if m.GetIgnoreCase() {
		fold = strings.ToLower
	}
	switch p := m.GetMatchPattern().(type) {
	case *matcherv3.StringMatcher_Exact:
		want := fold(p.Exact)
		return func(s string) bool { return fold(s) == want }, nil
	case *matcherv3.StringMatcher_Prefix:
		want := fold(p.Prefix)
		return func(s string) bool { return strings.HasPrefix(fold(s), want) }, nil
	case *matcherv3.StringMatcher_Suffix:
		want := fold(p.Suffix)
		return func(s string) bool { return strings.HasSuffix(fold(s), want) }, nil
	case *matcherv3.StringMatcher_Contains:
		want := fold(p.Contains)
		return func(s string) bool { return strings.Contains(fold(s), want) }, nil
	case *matcherv3.StringMatcher_SafeRegex:
		re, err := regexp.Compile(`\A(?:` + p.SafeRegex.GetRegex() + `)\z`)
		if err != nil {
			return nil, fmt.Errorf("safe_regex: %s", RE2Error(err))
		}
		return re.MatchString, nil
	}
	return nil, errors.New("unsupported string matcher")
}

// bucketRules returns nil without rules.
func bucketRules(settings []*metricsv3.HistogramBucketSettings) (func(string) []float64, error) {
	type rule struct {
		match  func(string) bool
		bounds []float64
	}
	var rules []rule
	for i, s := range settings {
		match, err := stringMatcher(s.GetMatch())
		if err != nil {
			return nil, fmt.Errorf("histogram_bucket_settings[%d].match: %w", i, err)
		}
		if len(s.GetBuckets()) == 0 {
			continue // sets only the number of bins, which have no meaning here
		}
		rules = append(rules, rule{match, slices.Compact(slices.Sorted(slices.Values(s.GetBuckets())))})
	}
	if rules == nil {
		return nil, nil
	}
	return func(name string) []float64 {
		for _, r := range rules {
			if r.match(name) {
				return r.bounds
			}
		}
		return nil
	}, nil
}
