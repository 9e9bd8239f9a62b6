package config

import (
	"fmt"
	"regexp"
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"github.com/ginnel/ginnel/internal/suggest"
)

// urlHints says what an unknown type URL may have meant. It remembers its
// answers, for looking through all types takes a while.
type urlHints struct{ known map[string]Issue }

var apiV2 = regexp.MustCompile(`^envoy\..*\bv2(alpha[0-9]*)?\.`)

// unknown describes a type URL that names no type.
func (h *urlHints) unknown(url string) Issue {
	if i, ok := h.known[url]; ok {
		return i
	}
	_, name := splitURL(url)
	i := Issue{Message: "unknown type " + quote(url)}
	if apiV2.MatchString(name) {
		i.Message = fmt.Sprintf("type %s is of the v2 API, which Envoy removed in 1.18", quote(url))
	}
	if near := nearestType(name); near != "" {
		i.Suggestion = hostPrefix + near
	}
	if h.known == nil {
		h.known = make(map[string]Issue)
	}
	h.known[url] = i
	return i
}

// nearestType looks for a type of the same last name in the package that is most
// alike, then for one of nearly the same full name.
func nearestType(name string) string {
	const longest = 200
	if len(name) > longest {
		return ""
	}
	last := strings.ToLower(name[strings.LastIndexByte(name, '.')+1:])
	best, least := "", 1+len(name)/2
	near, nearLeast := "", 3+len(name)/16
	protoregistry.GlobalTypes.RangeMessages(func(mt protoreflect.MessageType) bool {
		full := string(mt.Descriptor().FullName())
		if n := suggest.Distance(strings.ToLower(full), strings.ToLower(name), nearLeast+1); n < nearLeast || n == nearLeast && full < near {
			near, nearLeast = full, n
		}
		if strings.ToLower(string(mt.Descriptor().Name())) != last {
			return true
		}
		if n := suggest.Distance(full, name, least+1); n < least || n == least && full < best {
			best, least = full, n
		}
		return true
	})
	if near != "" {
		return near
	}
	return best
}
