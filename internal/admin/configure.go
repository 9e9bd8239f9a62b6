package admin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
)

// A ConfigError says what is wrong with a configuration.
type ConfigError struct{ Err error }

func (e *ConfigError) Error() string { return e.Err.Error() }

// Unwrap returns the faults.
func (e *ConfigError) Unwrap() error { return e.Err }

const (
	maxConfigBytes = 256 << 20
	configTime     = answerTime - 5*time.Second // for hosts to be checked; an answer is due before answerTime
)

// configure applies the configuration in the body.
func (s *Server) configure(w http.ResponseWriter, r *http.Request) {
	if s.opts.Configure == nil {
		text(w, http.StatusNotImplemented, "the configuration of this proxy cannot change\n")
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxConfigBytes))
	var big *http.MaxBytesError
	switch {
	case errors.As(err, &big):
		text(w, http.StatusRequestEntityTooLarge, fmt.Sprintf("the body is longer than %d bytes\n", big.Limit))
		return
	case err != nil:
		text(w, http.StatusBadRequest, "the body cannot be read: "+err.Error()+"\n")
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), configTime)
	defer cancel()
	var wrong *ConfigError
	switch err := s.opts.Configure(ctx, body); {
	case err == nil:
		ok(w)
	case errors.As(err, &wrong):
		text(w, http.StatusBadRequest, err.Error()+"\n")
	default:
		text(w, http.StatusConflict, "nothing has changed: "+err.Error()+"\n")
	}
}
