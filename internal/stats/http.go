package stats

import (
	"html/template"
	"io"
	"net/http"
	"strings"
)

// ServeStats answers /stats, and Prometheus's format where the path ends in
// /prometheus, as Envoy's admin interface does. It sets no header but the
// content type.
func (s *Store) ServeStats(w http.ResponseWriter, r *http.Request) {
	p, err := ParseParams(r.URL.RawQuery)
	if strings.HasSuffix(r.URL.Path, "/prometheus") {
		p.Format = FormatPrometheus
	}
	if err == nil {
		err = p.check()
	}
	if err != nil {
		w.Header().Set("Content-Type", contentTypes[FormatText])
		w.WriteHeader(http.StatusBadRequest)
		_, _ = io.WriteString(w, err.Error())
		return
	}
	if s.opts.FlushOnAdmin {
		s.Flush()
	}
	w.Header().Set("Content-Type", contentTypes[p.Format])
	// The client is gone if this fails; nobody is left to tell.
	_ = p.write(w, p.Apply(s.Snapshot()))
}

var contentTypes = [...]string{
	FormatText:       "text/plain; charset=UTF-8",
	FormatJSON:       "application/json",
	FormatPrometheus: "text/plain; charset=UTF-8",
	FormatHTML:       "text/html; charset=UTF-8",
	FormatActiveHTML: "text/html; charset=UTF-8",
}

func (p Params) write(w io.Writer, s *Snapshot) error {
	switch p.Format {
	case FormatJSON:
		return WriteJSON(w, s, p.Buckets)
	case FormatPrometheus:
		return WritePrometheus(w, s, p.Buckets, p.TextReadouts)
	case FormatHTML, FormatActiveHTML:
		return WriteHTML(w, s, p.Buckets)
	}
	return WriteText(w, s, p.Buckets)
}

// WriteHTML renders s as a page with the text of /stats.
func WriteHTML(w io.Writer, s *Snapshot, mode Buckets) error {
	if _, err := io.WriteString(w, "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>stats</title></head>\n<body><pre>\n"); err != nil {
		return err
	}
	if err := WriteText(escaping{w}, s, mode); err != nil {
		return err
	}
	_, err := io.WriteString(w, "</pre></body></html>\n")
	return err
}

// escaping makes text safe inside HTML.
type escaping struct{ w io.Writer }

func (e escaping) Write(p []byte) (int, error) {
	// Stats are written in pieces that end between stats, so no rune is cut.
	if _, err := io.WriteString(e.w, template.HTMLEscapeString(string(p))); err != nil {
		return 0, err
	}
	return len(p), nil
}
