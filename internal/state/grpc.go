package state

import (
	"fmt"
	"strconv"

	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/internal/httptext"
)

// GRPCStatus returns the status of a gRPC call as its trailers say it, or its headers,
// or by the HTTP status; false: there was no response.
func GRPCStatus(h *filter.HTTPInfo) (int, bool) {
	text, ok := h.Trailer.Lookup("grpc-status")
	if !ok && h.Response != nil {
		text, ok = h.Response.Header.Lookup("grpc-status")
	}
	if ok {
		n, err := strconv.ParseUint(text, 10, 31)
		if err != nil {
			return -1, true // Envoy: InvalidCode
		}
		return int(n), true
	}
	return grpcFromHTTP(h.Code), h.Code != 0
}

// The gRPC statuses that HTTP statuses stand for.
const (
	grpcUnknown          = 2
	grpcPermissionDenied = 7
	grpcUnimplemented    = 12
	grpcInternal         = 13
	grpcUnavailable      = 14
	grpcUnauthenticated  = 16
)

func grpcFromHTTP(code int) int {
	switch code {
	case 400:
		return grpcInternal
	case 401:
		return grpcUnauthenticated
	case 403:
		return grpcPermissionDenied
	case 404:
		return grpcUnimplemented
	case 429, 502, 503, 504:
		return grpcUnavailable
	}
	return grpcUnknown
}

// isGRPC reports whether a request is a gRPC call.
func isGRPC(h *filter.HTTPInfo) bool {
	return h.Request != nil && h.Request.Path != "" && httptext.GRPC(h.Request.Header.Get("content-type"))
}

var (
	grpcCamel = [...]string{
		"OK", "Canceled", "Unknown", "InvalidArgument", "DeadlineExceeded", "NotFound", "AlreadyExists", "PermissionDenied",
		"ResourceExhausted", "FailedPrecondition", "Aborted", "OutOfRange", "Unimplemented", "Internal", "Unavailable",
		"DataLoss", "Unauthenticated",
	}
	grpcSnake = [...]string{
		"OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS",
		"PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED",
		"INTERNAL", "UNAVAILABLE", "DATA_LOSS", "UNAUTHENTICATED",
	}
)

// grpcStatus makes GRPC_STATUS(CAMEL_STRING|SNAKE_STRING|NUMBER).
func grpcStatus(a args) (operator, error) {
	if oneOf(a, a.text, "CAMEL_STRING", "SNAKE_STRING", "NUMBER") != nil {
		return operator{}, fmt.Errorf("GrpcStatusFormatter only supports CAMEL_STRING, SNAKE_STRING or NUMBER. Got: %s", a.text)
	}
	switch a.text {
	case "NUMBER":
		return grpcNumber(a)
	case "SNAKE_STRING":
		return grpcName(grpcSnake[:]), nil
	}
	return grpcName(grpcCamel[:]), nil
}

func grpcNumber(args) (operator, error) {
	p := func(dst []byte, m moment) ([]byte, bool) {
		n, ok := grpcOf(m)
		if !ok {
			return dst, false
		}
		return strconv.AppendInt(dst, int64(n), 10), true
	}
	return operator{text: p, json: p}, nil
}

// grpcName prints a status that has no name as its number.
func grpcName(names []string) operator {
	return operator{text: func(dst []byte, m moment) ([]byte, bool) {
		n, ok := grpcOf(m)
		switch {
		case !ok:
			return dst, false
		case n >= 0 && n < len(names):
			return append(dst, names[n]...), true
		}
		return strconv.AppendInt(dst, int64(n), 10), true
	}}
}

func grpcOf(m moment) (int, bool) {
	h := m.HTTP()
	if h == nil || !isGRPC(h) {
		return 0, false
	}
	return GRPCStatus(h)
}
