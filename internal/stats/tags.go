package stats

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
)

// A Tag is a name and a value taken out of a stat's name.
type Tag struct{ Name, Value string }

// A TagRule adds a tag to the stats it matches.
type TagRule struct {
	Tag string
	// Regex finds the tag: its first group is taken out of the stat's name, its
	// second, or else its first, is the value. "" with an empty Fixed: Envoy's
	// default rules for Tag.
	Regex string
	// Fixed, with IsFixed, is the value for every stat.
	Fixed   string
	IsFixed bool
}

// A Tagger splits the full name of a stat into tags and what remains. It is
// immutable and can be shared.
type Tagger struct {
	// Envoy tries the extractors that do not begin with a known token first.
	anywhere []extractor
	byToken  map[string][]extractor
}

// An extractor finds one tag in a name. ok is false when it is not there.
type extractor struct {
	tag  string
	find func(name string) (value string, from, to int, ok bool)
}

// DefaultTagger returns the tagger of an Envoy without stats_tags.
func DefaultTagger() *Tagger {
	t := &Tagger{byToken: map[string][]extractor{}}
	for _, r := range defaultTagRules {
		t.addDefault(r)
	}
	return t
}

// NewTagger returns a tagger with Envoy's default tags, unless noDefaults, then
// the rules in their order. Of several rules for one tag the first that matches
// wins; with override the defaults for the tags of rules are left out.
func NewTagger(rules []TagRule, noDefaults, override bool) (*Tagger, error) {
	return newTagger(rules, 0, noDefaults, override)
}

// newTagger words its errors for the rules after the first cli ones, which
// cannot be wrong, as the fields stats_tags[0], ...; only those override.
func newTagger(rules []TagRule, cli int, noDefaults, override bool) (*Tagger, error) {
	t := &Tagger{byToken: map[string][]extractor{}}
	for _, d := range defaultTagRules {
		replaced := override && slices.ContainsFunc(rules[cli:], func(r TagRule) bool { return r.Tag == d.tag })
		if !noDefaults && !replaced {
			t.addDefault(d)
		}
	}
	for i, r := range rules {
		if err := t.addRule(r); err != nil {
			return nil, fmt.Errorf("stats_tags[%d]: %w", i-cli, err)
		}
	}
	return t, nil
}

func (t *Tagger) addRule(r TagRule) error {
	switch {
	case r.IsFixed:
		t.add("", extractor{r.Tag, func(string) (string, int, int, bool) { return r.Fixed, 0, 0, true }})
		return nil
	case r.Regex != "":
		re, err := regexp.Compile(withoutLookahead.Replace(r.Regex))
		if err != nil {
			return fmt.Errorf("invalid regex %q: %s", r.Regex, RE2Error(err))
		}
		if re.NumSubexp() > 0 {
			t.add(firstToken(r.Regex), extractor{r.Tag, customFinder(re)})
		}
		return nil
	}
	found := false
	for _, d := range defaultTagRules {
		if d.tag == r.Tag {
			t.addDefault(d)
			found = true
		}
	}
	if !found {
		return fmt.Errorf("no regex specified for tag specifier and no default regex for name: '%s'", r.Tag)
	}
	return nil
}

// withoutLookahead rewrites the one lookahead that Envoy's documentation and
// former default tags use into what RE2 knows; both forms match the same.
var withoutLookahead = strings.NewReplacer(
	`(?=\.).*?\.`, `(?:\..*?)??\.`,
	`(?=\.).*\.`, `(?:\..*)?\.`,
)

func (t *Tagger) addDefault(r tagRule) {
	if r.pattern != "" {
		tokens := strings.Split(r.pattern, ".")
		first := tokens[0]
		if first == "$" {
			first = ""
		}
		t.add(first, extractor{r.tag, tokenFinder(tokens)})
		return
	}
	regex := expandTagRegex.Replace(r.regex)
	t.add(firstToken(regex), extractor{r.tag, defaultFinder(r, regex)})
}

func (t *Tagger) add(token string, e extractor) {
	if token == "" {
		t.anywhere = append(t.anywhere, e)
		return
	}
	t.byToken[token] = append(t.byToken[token], e)
}

// firstToken returns the token with which all matches of regex begin, "" if it
// does not say.
func firstToken(regex string) string {
	rest, anchored := strings.CutPrefix(regex, "^")
	if !anchored {
		return ""
	}
	end := strings.IndexFunc(rest, func(r rune) bool {
		return r != '_' && (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z')
	})
	if end <= 0 {
		return ""
	}
	after := rest[end:]
	if after == "$" || strings.HasPrefix(after, `\.`) || strings.HasPrefix(after, `(?=\.)`) {
		return rest[:end]
	}
	return ""
}

// defaultFinder compiles its regular expression when the first name needs it.
func defaultFinder(r tagRule, regex string) func(string) (string, int, int, bool) {
	compiled := sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(regex) })
	return func(name string) (string, int, int, bool) {
		if r.needs != "" && !strings.Contains(name, r.needs) {
			return "", 0, 0, false
		}
		m := compiled().FindStringSubmatchIndex(name)
		if m == nil || name[m[4]:m[5]] == r.not {
			return "", 0, 0, false
		}
		return name[m[4]:m[5]], m[2], m[3], true
	}
}

// customFinder treats groups that take no part in the match as empty.
func customFinder(re *regexp.Regexp) func(string) (string, int, int, bool) {
	valueGroup := min(2, re.NumSubexp())
	return func(name string) (string, int, int, bool) {
		m := re.FindStringSubmatchIndex(name)
		if m == nil {
			return "", 0, 0, false
		}
		value := ""
		if from := m[2*valueGroup]; from >= 0 {
			value = name[from:m[2*valueGroup+1]]
		}
		return value, max(0, m[2]), max(0, m[3]), true
	}
}

// tokenFinder matches names against a pattern of tokens; see [tagRule].
func tokenFinder(pattern []string) func(string) (string, int, int, bool) {
	return func(name string) (string, int, int, bool) {
		at, found := matchTokens(pattern, name, 0)
		if !found {
			return "", 0, 0, false
		}
		value, _, more := strings.Cut(name[at:], ".")
		from, to := at, at+len(value)
		if more {
			to++ // the dot after it goes too
		} else if from > 0 {
			from-- // the last token takes the dot before it along
		}
		return value, from, to, true
	}
}

// matchTokens reports whether name, from offset on, has the pattern, and where
// the token for "$" is; at is unspecified if "$" came before offset.
func matchTokens(pattern []string, name string, offset int) (at int, ok bool) {
	for i, want := range pattern {
		if offset > len(name) {
			return 0, false
		}
		if want == "**" {
			return matchRest(pattern[i+1:], name, offset, at)
		}
		token, _, _ := strings.Cut(name[offset:], ".")
		switch want {
		case "$":
			at = offset
		case "*", token:
		default:
			return 0, false
		}
		offset += len(token) + 1
	}
	return at, offset > len(name)
}

// matchRest matches "**" followed by pattern; at is where "$" was, which no rule
// has after "**".
func matchRest(pattern []string, name string, offset, at int) (int, bool) {
	if len(pattern) == 0 {
		return at, true
	}
	for offset <= len(name) {
		if _, ok := matchTokens(pattern, name, offset); ok {
			return at, true
		}
		token, _, _ := strings.Cut(name[offset:], ".")
		offset += len(token) + 1
	}
	return 0, false
}

// tagged is a name taken apart.
type tagged struct {
	rest string // the name without the tags
	tags []Tag
}

// Split returns the tags in name and what remains of it.
func (t *Tagger) Split(name string) (rest string, tags []Tag) {
	var cut cuts
	try := func(es []extractor) {
		for _, e := range es {
			if slices.ContainsFunc(tags, func(g Tag) bool { return g.Name == e.tag }) {
				continue
			}
			if value, from, to, ok := e.find(name); ok {
				tags = append(tags, Tag{e.tag, strings.TrimRight(value, ".")})
				cut = append(cut, [2]int{from, to})
			}
		}
	}
	try(t.anywhere)
	if token, _, more := strings.Cut(name, "."); more {
		try(t.byToken[token])
	}
	return strings.TrimRight(cut.apply(name), "."), tags
}

// cuts are the ranges of a name that its tags took.
type cuts [][2]int

func (c cuts) apply(name string) string {
	slices.SortFunc(c, func(a, b [2]int) int { return a[0] - b[0] })
	var rest strings.Builder
	end := 0
	for _, r := range c {
		if r[0] > end {
			rest.WriteString(name[end:r[0]])
		}
		end = max(end, r[1])
	}
	if end == 0 {
		return name
	}
	rest.WriteString(name[end:])
	return rest.String()
}

// split returns the tags of the sample's name, computed once a stat.
func (t *Tagger) split(s sample) *tagged {
	if got := s.meta.tagged.Load(); got != nil {
		return got
	}
	rest, tags := t.Split(s.Name)
	got := &tagged{rest: strings.Clone(rest), tags: tags}
	for i := range got.tags {
		got.tags[i].Value = strings.Clone(got.tags[i].Value)
	}
	s.meta.tagged.Store(got)
	return got
}
