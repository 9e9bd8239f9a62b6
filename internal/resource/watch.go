package resource

import (
	"errors"
	"fmt"
	"strings"
	"time"

	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/internal/config"
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
	var v any
	if err == nil {
		v, err = w.decode(m)
	}
	if err != nil {
		w.reject(a, err)
		return
	}
	w.rejected = nil
	w.counts.Success(d.Version)
	if w.message == nil || !proto.Equal(m, w.message) {
		w.replace(d.Version, m)
		w.value = v
	}
	for _, x := range w.subscriptions {
		x.request.Deliver(w.value)
	}
	w.ready()
}

func (w *watch) replace(version string, m proto.Message) {
	w.version, w.message, w.updated = version, m, time.Now()
	if w.reloads != nil {
		w.reloads.Add(1)
		w.reloaded.Set(uint64(w.updated.UnixMilli()))
	}
}

// find returns the resource of the watch's name. Of two the first counts.
func (w *watch) find(d *Delivery) (*anypb.Any, proto.Message, error) {
	var others []string
	for i, a := range d.Resources {
		m, err := config.Unpack(a)
		name := nameOf(m)
		switch {
		case err != nil && len(d.Resources) == 1:
			return a, nil, err
		case err != nil:
			continue
		case string(m.ProtoReflect().Descriptor().FullName()) != typeNames[w.kind]:
			err = fmt.Errorf("unexpected resource type %s", m.ProtoReflect().Descriptor().FullName())
		case name == w.name && d.Faults[i] != "":
			err = errors.New(d.Faults[i])
		case name == w.name:
			return a, m, nil
		}
		if err != nil && (name == w.name || len(d.Resources) == 1) {
			return a, nil, err
		}
		others = append(others, name)
	}
	if !d.Whole {
		return nil, nil, nil
	}
	what := [...]string{filter.RouteResource: "RDS configuration", filter.EndpointResource: "EDS cluster"}[w.kind]
	const most = 5
	if n := len(others); n > most {
		others = append(others[:most:most], fmt.Sprintf("and %d more", n-most))
	}
	return nil, nil, fmt.Errorf("Unexpected %s (expecting %s): %s", what, w.name, strings.Join(others, ", "))
}

func nameOf(m proto.Message) string {
	switch m := m.(type) {
	case *routev3.RouteConfiguration:
		return m.GetName()
	case *endpointv3.ClusterLoadAssignment:
		return m.GetClusterName()
	case interface{ GetName() string }:
		return m.GetName()
	}
	return ""
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
