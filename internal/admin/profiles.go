package admin

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os"
	"runtime"
	"runtime/pprof"
	"runtime/trace"
	"strconv"
	"strings"
	"time"
)

// profiles serves the paths of net/http/pprof. That package itself would put them
// on the default mux of the program around the proxy.
func profiles(w http.ResponseWriter, r *http.Request) {
	switch name := strings.TrimPrefix(strings.TrimPrefix(r.URL.Path, "/debug/pprof"), "/"); name {
	case "":
		listProfiles(w)
	case "cmdline":
		text(w, http.StatusOK, strings.Join(os.Args, "\x00"))
	case "profile":
		record(w, r, 30*time.Second, pprof.StartCPUProfile, pprof.StopCPUProfile)
	case "trace":
		record(w, r, time.Second, trace.Start, trace.Stop)
	default:
		profile(w, r, name)
	}
}

func listProfiles(w http.ResponseWriter) {
	var b strings.Builder
	b.WriteString("profile?seconds=30 (CPU)\ntrace?seconds=1\n")
	for _, p := range pprof.Profiles() {
		fmt.Fprintf(&b, "%s?debug=1: %d\n", p.Name(), p.Count())
	}
	text(w, http.StatusOK, b.String())
}

// profile answers with a profile that the runtime keeps: as text with debug=1 or 2.
func profile(w http.ResponseWriter, r *http.Request, name string) {
	p := pprof.Lookup(name)
	if p == nil {
		text(w, http.StatusNotFound, "unknown profile "+strconv.Quote(name)+"\n")
		return
	}
	debug, _ := strconv.Atoi(r.Form.Get("debug"))
	if name == "heap" && r.Form.Get("gc") == "1" {
		runtime.GC()
	}
	if debug == 0 {
		attach(w, name)
	}
	// The client is gone if this fails.
	_ = p.WriteTo(w, debug)
}

func attach(w http.ResponseWriter, name string) {
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Content-Disposition", fmt.Sprintf("attachment; filename=%q", name))
}

const maxRecording = 10 * time.Minute

// record answers with what is recorded between start and stop, seconds long. Only
// one recording of a kind can run.
func record(w http.ResponseWriter, r *http.Request, d time.Duration, start func(io.Writer) error, stop func()) {
	if s := r.Form.Get("seconds"); s != "" {
		seconds, err := strconv.ParseFloat(s, 64)
		if d = time.Duration(seconds * float64(time.Second)); err != nil || !(d > 0 && d <= maxRecording) {
			text(w, http.StatusBadRequest, fmt.Sprintf("seconds must be a number up to %v\n", maxRecording.Seconds()))
			return
		}
	}
	// The server's read timeout would end the request's context.
	_ = http.NewResponseController(w).SetReadDeadline(time.Time{})
	var out bytes.Buffer
	if err := start(&out); err != nil {
		text(w, http.StatusInternalServerError, err.Error()+"\n")
		return
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-r.Context().Done():
	}
	stop()
	extend(w)
	attach(w, "profile")
	text(w, http.StatusOK, out.String())
}

func heapDump(w http.ResponseWriter, r *http.Request) { profile(w, r, "heap") }

// contention says where goroutines wait, if that is sampled.
func contention(w http.ResponseWriter, _ *http.Request) {
	if runtime.SetMutexProfileFraction(-1) == 0 {
		text(w, http.StatusOK, "Mutex contention tracing is not enabled.")
		return
	}
	_ = pprof.Lookup("mutex").WriteTo(w, 1)
}
