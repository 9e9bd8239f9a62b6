//go:build !linux

package netconn

import "errors"

// hangupPoll does not exist here: a peer's end is noticed with the next read or write.
type hangupPoll struct{}

func newHangupPoll() (*hangupPoll, error) { return nil, errors.ErrUnsupported }

func (*hangupPoll) add(fd int, id uint64) error { return errors.ErrUnsupported }
func (*hangupPoll) remove(fd int) error         { return errors.ErrUnsupported }
func (*hangupPoll) run(func(uint64, bool))      {}
func (*hangupPoll) close()                      {}
