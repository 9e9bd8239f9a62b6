package upstream

import (
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"

	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/internal/inproc"
	"github.com/ginnel/ginnel/internal/netconn"
)

var errNoNetwork = errors.New("no in-process network")

// An outcome is how an attempt failed, in the terms of Envoy's statistics.
type outcome struct {
	err      error
	reason   string // of the transport; "": none
	local    bool   // this side gave up
	timeout  bool   // of the cluster's own limit
	canceled bool   // by the asker, or its limit
	bind     bool   // the source address was refused
}

// judge tells what the error of the last address means. expired tells that the time
// was up because of the asker's limit.
func judge(err error, to, source net.Addr, expired bool) outcome {
	var sys *os.SyscallError
	switch {
	case errors.Is(err, filter.ErrCanceled):
		return outcome{err: filter.ErrCanceled, local: true, canceled: true}
	case errors.Is(err, os.ErrDeadlineExceeded):
		return outcome{err: filter.ErrConnectTimeout, local: true, timeout: !expired, canceled: expired}
	case errors.As(err, &sys) && sys.Syscall == "bind":
		if op := (*net.OpError)(nil); errors.As(err, &op) && op.Source != nil {
			source = op.Source // that of the connection
		}
		return failed(err, fmt.Sprintf("failed to bind to %v: %s", source, netconn.Text(err)), true)
	}
	if o := (*netconn.OptionError)(nil); errors.As(err, &o) {
		return failed(err, o.Error(), true)
	}
	if h := (*handshakeError)(nil); errors.As(err, &h) {
		return failed(err, h.Error(), false)
	}
	return failed(err, failureReason(err, to), false)
}

// fromAnotherHop keeps what a hop further in failed of from being taken for what this
// one failed of: that hop found no host, this one was refused. The text stays.
func fromAnotherHop(err error) error {
	var refused *inproc.RefusedError
	if !errors.As(err, &refused) {
		return err
	}
	switch refused.Reason {
	case inproc.ErrNoListener, inproc.ErrHopLimit, inproc.ErrClosed:
		return err
	}
	e := *refused
	e.Reason = errors.New(refused.Reason.Error())
	return &e
}

func failed(err error, reason string, bind bool) outcome {
	return outcome{err: &filter.ConnectError{Reason: reason, Local: bind, Err: err}, reason: reason, local: bind, bind: bind}
}

// failureReason is the text that Envoy has for a failed connect(2), or for the
// answer to it.
func failureReason(err error, to net.Addr) string {
	var refused *inproc.RefusedError
	switch {
	case errors.As(err, &refused):
		return refused.Error()
	case delayed(err, to):
		return "delayed connect error: " + netconn.Text(err)
	}
	return fmt.Sprintf("immediate connect error: %s|remote address:%v", netconn.Text(err), to)
}

// delayed reports whether err came back over the network. Envoy never waits in
// connect(2), so a refusal over TCP is always one of these.
func delayed(err error, to net.Addr) bool {
	if _, ok := filter.IP(to); !ok {
		return false
	}
	for _, e := range []syscall.Errno{
		syscall.ECONNREFUSED, syscall.ECONNRESET, syscall.ECONNABORTED, syscall.ETIMEDOUT, syscall.EHOSTUNREACH,
	} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}
