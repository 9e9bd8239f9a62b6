package upstream

import (
	"fmt"

	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/httpmsg"
)

// A codec makes the client of a connection that was made for a member of a pool, which
// owns it. On an error the stream is the caller's again.
type codec func(m *member, s filter.Stream) (httpmsg.Client, error)

func newClient(m *member, _ filter.Stream) (httpmsg.Client, error) {
	return nil, fmt.Errorf("no codec for %v yet", m.pool.key.protocol)
}
