package resource

import (
	"fmt"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/internal/plan"
)

var typeNames = [...]string{
	filter.RouteResource:    "envoy.config.route.v3.RouteConfiguration",
	filter.EndpointResource: "envoy.config.endpoint.v3.ClusterLoadAssignment",
}

// take looks in a delivery for what the watch is for.
func (w *watch) take(d *Delivery) {
	if d.Whole && len(d.Resources) == 0 {
		w.counts.Attempt()
		w.empty.Add(1)
		w.counts.Success(d.Version)
		w.ready()
		return
	}
	a, m, err := w.find(d)
	if a == nil && err == nil {
		return // nothing is said of it
	}
	w.counts.Attempt()
	same := err == nil && w.message != nil && proto.Equal(m, w.message)
	v := w.value
	if err == nil && !same {
		v, err = w.subscriptions[0].request.Decode(m)
	}
	if err != nil {
		w.reject(a, err)
		return
	}
	w.rejected, w.value = nil, v
	for _, x := range w.subscriptions {
		x.request.Deliver(v)
	}
	if !same { // counted when it is in effect, for those who wait for that
		w.replace(d.Version, m)
	}
	w.counts.Success(d.Version)
	w.ready()
}

func (w *watch) replace(version string, m proto.Message) {
	w.version, w.message, w.updated = version, m, time.Now()
	w.counts.Reloaded()
}

// find returns the resource of the watch's name.
func (w *watch) find(d *Delivery) (*anypb.Any, proto.Message, error) {
	c := d.contents()
	x, ok := c.byName[w.name]
	if !ok && len(d.Resources) == 1 && (c.only.message == nil || c.only.typ != typeNames[w.kind]) {
		x, ok = c.only, true
	}
	switch {
	case ok && x.message == nil:
		return x.any, nil, x.err
	case ok && x.typ != typeNames[w.kind]:
		return x.any, nil, fmt.Errorf("unexpected resource type %s", x.typ)
	case ok:
		return x.any, x.message, x.err
	case !d.Whole:
		return nil, nil, nil
	}
	what := [...]string{filter.RouteResource: "RDS configuration", filter.EndpointResource: "EDS cluster"}[w.kind]
	others := c.names
	const most = 5
	if n := len(others); n > most {
		others = append(others[:most:most], fmt.Sprintf("and %d more", n-most))
	}
	return nil, nil, fmt.Errorf("Unexpected %s (expecting %s): %s", what, w.name, strings.Join(others, ", "))
}

// reject notes that what has come is wrong; a may be nil.
func (w *watch) reject(a *anypb.Any, err error) {
	w.counts.Rejected()
	w.rejected = &plan.Rejected{Name: w.name, Resource: a, At: time.Now(), Details: err.Error()}
	w.hub.log.Warn(fmt.Sprintf([...]string{
		filter.RouteResource:    "rds: route config '%s' rejected: %s",
		filter.EndpointResource: "eds: cluster '%s' config rejected: %s",
	}[w.kind], w.name, err), "logger", [...]string{"rds", "upstream"}[w.kind])
	w.ready() // Envoy: what is wrong is not waited for
}

// fail notes that the source could not be asked.
func (w *watch) fail(err error) {
	w.counts.Attempt()
	w.counts.Failed()
	w.hub.log.Warn(fmt.Sprintf("Filesystem config update failure: %v", err), "logger", "config")
	w.ready()
}

func (w *watch) ready() {
	w.answered = true
	for _, x := range w.subscriptions {
		x.ready()
	}
}
