package admin

import (
	"encoding/json"
	"net/http"

	"google.golang.org/protobuf/types/known/structpb"

	"github.com/ginnel/ginnel/internal/plan"
)

type runtimeDump struct {
	Layers  []string                 `json:"layers"`
	Entries map[string]*runtimeEntry `json:"entries"`
}

type runtimeEntry struct {
	LayerValues []string `json:"layer_values"`
	FinalValue  string   `json:"final_value"`
}

func (s *Server) runtime(w http.ResponseWriter, _ *http.Request) {
	layers := s.opts.Proxy.Runtime()
	out := runtimeDump{Layers: make([]string, len(layers)), Entries: map[string]*runtimeEntry{}}
	for i, l := range layers {
		out.Layers[i] = l.Name
		for key, v := range l.Values {
			e := out.Entries[key]
			if e == nil {
				e = &runtimeEntry{LayerValues: make([]string, len(layers))}
				out.Entries[key] = e
			}
			e.LayerValues[i] = runtimeText(v)
			e.FinalValue = e.LayerValues[i]
		}
	}
	value(w, out)
}

// runtimeText prints a value: text as it is, all else as JSON.
func runtimeText(v *structpb.Value) string {
	if s, ok := v.GetKind().(*structpb.Value_StringValue); ok {
		return s.StringValue
	}
	raw, err := json.Marshal(v.AsInterface())
	if err != nil {
		return err.Error()
	}
	return string(raw)
}

const runtimeUsage = `usage: /runtime_modify?key1=value1&key2=value2&keyN=valueN
       or send the parameters as form values
use an empty value to remove a previously added override`

func (s *Server) runtimeModify(w http.ResponseWriter, r *http.Request) {
	if len(r.Form) == 0 {
		text(w, http.StatusBadRequest, runtimeUsage)
		return
	}
	if !hasAdminLayer(s.opts.Proxy.Runtime()) {
		text(w, http.StatusServiceUnavailable, "No admin layer specified")
		return
	}
	values := make(map[string]string, len(r.Form))
	for key := range r.Form {
		values[key] = r.Form.Get(key)
	}
	if err := s.opts.Proxy.ModifyRuntime(values); err != nil {
		text(w, http.StatusServiceUnavailable, err.Error())
		return
	}
	ok(w)
}

func hasAdminLayer(layers []plan.RuntimeLayer) bool {
	for _, l := range layers {
		if l.Admin {
			return true
		}
	}
	return false
}
