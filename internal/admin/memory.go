package admin

import (
	"net/http"
	"runtime/metrics"

	adminv3 "github.com/envoyproxy/go-control-plane/envoy/admin/v3"
)

// memory gives Go's figures the names of tcmalloc's that come nearest.
func memory(w http.ResponseWriter, _ *http.Request) {
	const (
		objects  = "/memory/classes/heap/objects:bytes"
		unused   = "/memory/classes/heap/unused:bytes"
		free     = "/memory/classes/heap/free:bytes"
		released = "/memory/classes/heap/released:bytes"
		total    = "/memory/classes/total:bytes"
	)
	m := read(objects, unused, free, released, total)
	message(w, &adminv3.Memory{
		Allocated:          m[objects],
		HeapSize:           m[objects] + m[unused] + m[free] + m[released],
		PageheapUnmapped:   m[released],
		PageheapFree:       m[free],
		TotalThreadCache:   m[unused],
		TotalPhysicalBytes: m[total] - m[released],
	}, true)
}

// read returns the values of metrics; of those that this Go does not have, 0.
func read(names ...string) map[string]uint64 {
	samples := make([]metrics.Sample, len(names))
	for i, name := range names {
		samples[i].Name = name
	}
	metrics.Read(samples)
	out := make(map[string]uint64, len(names))
	for _, s := range samples {
		if s.Value.Kind() == metrics.KindUint64 {
			out[s.Name] = s.Value.Uint64()
		}
	}
	return out
}
