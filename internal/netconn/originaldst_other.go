//go:build !linux

package netconn

import "net"

// OriginalDst returns false: nobody is asked here where a connection was going before it
// was redirected.
func (s *Socket) OriginalDst() (net.Addr, bool) { return nil, false }
