package admin

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/ginnel/ginnel/filter"
)

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.logged(w, r) }

// answer answers a request.
//
// Browsers reach addresses that their pages' authors cannot, so two things are
// refused that Envoy allows: a POST that a page of another origin sends, and, on a
// loopback address, any Host but an IP address or localhost, which is what a name
// made to point at this machine (DNS rebinding) looks like. The second does not
// hold for /ready and /stats, which scrapers read through listeners under all
// kinds of names.
func (s *Server) answer(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Type", plain)
	h.Set("Cache-Control", "no-cache, max-age=0")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Server", "ginnel")
	c := s.find(r.URL.Path)
	if (c == nil || !c.anyHost) && !trustedHost(r) {
		text(w, http.StatusForbidden, fmt.Sprintf("Host %q is neither an IP address nor localhost: on a loopback address only /ready and /stats answer to other names.\n", r.Host))
		return
	}
	if c == nil {
		text(w, http.StatusNotFound, "invalid path. "+s.help())
		return
	}
	if c.mutates && !s.mayMutate(w, r) {
		return
	}
	if !c.body && !parse(w, r) {
		return
	}
	extend(w)
	c.serve(w, r)
}

// mayMutate answers the request itself when it may not change anything.
func (s *Server) mayMutate(w http.ResponseWriter, r *http.Request) bool {
	if r.Method != http.MethodPost {
		s.opts.Log.Error(fmt.Sprintf("admin path %q mutates state, method=%s rather than POST", r.URL.Path, r.Method), "logger", "admin")
		text(w, http.StatusMethodNotAllowed, fmt.Sprintf("Method %s not allowed, POST required.", r.Method))
		return false
	}
	if err := s.origins.Check(r); err != nil {
		s.opts.Log.Error(fmt.Sprintf("admin path %q: %v", r.URL.Path, err), "logger", "admin")
		text(w, http.StatusForbidden, err.Error()+"\n")
		return false
	}
	return true
}

// trustedHost reports whether the request's Host is one that a page of a browser
// cannot make its own; asked on loopback addresses only.
func trustedHost(r *http.Request) bool {
	local, _ := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	if ip, ok := filter.IP(local); !ok || !ip.Addr().Unmap().IsLoopback() {
		return true
	}
	host := r.Host
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	if host == "" || host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return true
	}
	_, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return err == nil
}

// parse reads the parameters, which may also come as a form. What cannot be read of
// them is left out, as Envoy does.
func parse(w http.ResponseWriter, r *http.Request) bool {
	r.Body = http.MaxBytesReader(w, r.Body, maxBodyBytes)
	var big *http.MaxBytesError
	if errors.As(r.ParseForm(), &big) {
		text(w, http.StatusRequestEntityTooLarge, fmt.Sprintf("the body is longer than %d bytes\n", big.Limit))
		return false
	}
	return true
}

// extend gives the client answerTime from now on to take the answer.
func extend(w http.ResponseWriter) {
	// A writer without deadlines has no slow client either.
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(answerTime))
}

// The content types of answers.
const (
	plain    = "text/plain; charset=UTF-8"
	jsonType = "application/json"
)

// text answers with s. The client is gone if writing fails: nobody is left to tell.
func text(w http.ResponseWriter, status int, s string) {
	w.WriteHeader(status)
	_, _ = w.Write([]byte(s))
}

// ok answers a command that did what it was asked.
func ok(w http.ResponseWriter) { text(w, http.StatusOK, "OK\n") }

// message answers with a message as Envoy prints it: the fields' own names, one
// space for each level.
func message(w http.ResponseWriter, m proto.Message, defaults bool) {
	// protojson varies its white space on purpose; a second pass makes it stable.
	raw, err := protojson.MarshalOptions{UseProtoNames: true, EmitDefaultValues: defaults}.Marshal(m)
	if err != nil {
		text(w, http.StatusInternalServerError, err.Error()+"\n")
		return
	}
	indented(w, raw)
}

// value answers with v as JSON in the same form.
func value(w http.ResponseWriter, v any) {
	raw, err := json.Marshal(v)
	if err != nil {
		text(w, http.StatusInternalServerError, err.Error()+"\n")
		return
	}
	indented(w, raw)
}

func indented(w http.ResponseWriter, raw []byte) {
	var out bytes.Buffer
	if err := json.Indent(&out, raw, "", " "); err != nil {
		text(w, http.StatusInternalServerError, err.Error()+"\n")
		return
	}
	out.WriteByte('\n')
	w.Header().Set("Content-Type", jsonType)
	text(w, http.StatusOK, out.String())
}
