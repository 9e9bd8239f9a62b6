package compile

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/ginnel/ginnel/extension"
	"github.com/ginnel/ginnel/internal/plan"
	"github.com/ginnel/ginnel/internal/suggest"
)

// Kinds of references.
const (
	clusterRef  = "cluster"
	internalRef = "internal listener"
)

// resolveReferences warns of uses of what is not configured, or refuses them where it is
// required, and warns of rings.
func resolveReferences(s *extension.Scope, r *extension.Report, p *plan.Server) {
	var clusters, internals []string
	known := make(map[extension.Reference]bool)
	for _, c := range p.Clusters {
		clusters = append(clusters, c.Name)
		known[extension.Reference{Kind: clusterRef, Name: c.Name}] = true
	}
	sockets := make(map[string]bool)
	for _, l := range p.Listeners {
		if !l.Internal {
			sockets[l.Info.Name] = true
			continue
		}
		internals = append(internals, l.Info.Name)
		known[extension.Reference{Kind: internalRef, Name: l.Info.Name}] = true
	}
	for _, ref := range r.References {
		if known[extension.Reference{Kind: ref.Kind, Name: ref.Name}] {
			continue
		}
		i := extension.Issue{Path: ref.Path, Severity: extension.Warning}
		switch {
		case ref.Kind == clusterRef && ref.Required:
			i.Severity, i.Message = extension.Error, fmt.Sprintf("unknown cluster %q", ref.Name)
			i.Suggestion = suggest.Nearest(ref.Name, clusters)
		case ref.Kind == clusterRef:
			i.Message = fmt.Sprintf("unknown cluster %q: connections that need it are refused", ref.Name)
			i.Suggestion = suggest.Nearest(ref.Name, clusters)
		case ref.Kind == internalRef && sockets[ref.Name]:
			i.Message = fmt.Sprintf("listener %q is not an internal listener: connections to it by name are refused", ref.Name)
		case ref.Kind == internalRef:
			i.Message = fmt.Sprintf("unknown internal listener %q: connections to it are refused", ref.Name)
			i.Suggestion = suggest.Nearest(ref.Name, internals)
		default:
			continue
		}
		r.Issues = append(r.Issues, i)
	}
	findRings(s, r, p)
}

// A step leads from one listener to an internal one.
type step struct {
	to   int    // index of the listener
	path string // of the endpoint
}

// rings looks for internal listeners that dial each other in a loop, over the
// clusters that their filters name.
type rings struct {
	plan  *plan.Server
	steps [][]step // by listener
	state []visit  // by listener
	stack []int    // listeners on the way
	found map[string]bool
	scope *extension.Scope
}

type visit uint8

const (
	unseen visit = iota
	open
	done
)

func findRings(s *extension.Scope, r *extension.Report, p *plan.Server) {
	w := &rings{plan: p, steps: steps(r, p), state: make([]visit, len(p.Listeners)), found: make(map[string]bool), scope: s}
	for i := range p.Listeners {
		if w.state[i] == unseen {
			w.walk(i)
		}
	}
}

func (w *rings) walk(i int) {
	w.state[i] = open
	w.stack = append(w.stack, i)
	for _, next := range w.steps[i] {
		switch w.state[next.to] {
		case unseen:
			w.walk(next.to)
		case open:
			w.report(next)
		}
	}
	w.stack = w.stack[:len(w.stack)-1]
	w.state[i] = done
}

// report tells of the ring that a step closes, once.
func (w *rings) report(last step) {
	var names []string
	for n := len(w.stack) - 1; ; n-- {
		names = append(names, w.plan.Listeners[w.stack[n]].Info.Name)
		if w.stack[n] == last.to {
			break
		}
	}
	slices.Reverse(names)
	ring := strings.Join(append(names, names[0]), " -> ")
	if w.found[ring] {
		return
	}
	w.found[ring] = true
	w.scope.At(last.path).Strictf("internal listeners lead to each other in a loop: %s; a connection that goes round ends at the hop limit (Envoy 1.40 crashes)", ring)
}

// steps joins the references of listeners to clusters with those of clusters to
// internal listeners.
func steps(r *extension.Report, p *plan.Server) [][]step {
	internal := make(map[string]int)
	for i, l := range p.Listeners {
		if l.Internal {
			internal[l.Info.Name] = i
		}
	}
	hosts := make(map[string][]step) // by cluster
	for _, ref := range r.References {
		c, ok := indexIn(ref.Path, "static_resources.clusters[")
		to, found := internal[ref.Name]
		if ok && found && c < len(p.Clusters) && ref.Kind == internalRef {
			name := p.Clusters[c].Name
			hosts[name] = append(hosts[name], step{to, ref.Path})
		}
	}
	out := make([][]step, len(p.Listeners))
	for _, ref := range r.References {
		if l, ok := indexIn(ref.Path, "static_resources.listeners["); ok && ref.Kind == clusterRef {
			out[l] = append(out[l], hosts[ref.Name]...)
		}
	}
	return out
}

// indexIn returns the index that follows a prefix of a path.
func indexIn(path, prefix string) (int, bool) {
	rest, ok := strings.CutPrefix(path, prefix)
	digits, _, closed := strings.Cut(rest, "]")
	n, err := strconv.Atoi(digits)
	return n, ok && closed && err == nil
}
