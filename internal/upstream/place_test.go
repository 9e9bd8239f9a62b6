package upstream

import (
	"fmt"
	"net"
	"strings"
	"testing"

	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/internal/plan"
)

// What Envoy 1.40 tries after what, by closing the ports that it reached one after the other.
func TestTryOrder(t *testing.T) {
	var any plan.TryOrder
	v4, v6, pipe := plan.IPv4Family, plan.IPv6Family, plan.PipeFamily
	for _, x := range []struct {
		order     plan.TryOrder
		all, want string
	}{
		{any, "4a 4b 4c", "4a 4b 4c"},
		{any, "4a 4b 6a 6b", "4a 6a 4b 6b"},
		{any, "4a 4b 4c 6a", "4a 6a 4b 4c"},
		{any, "4a 6a pa 4b 6b", "4a 6a pa 4b 6b"},
		{any, "6a 6b 4a pa", "6a 4a pa 6b"},
		{any, "6a pa 4a pb", "6a pa 4a pb"},
		{plan.TryOrder{Count: 2}, "4a 4b 6a 6b", "4a 4b 6a 6b"},
		{plan.TryOrder{Count: 2}, "4a 6a pa 4b 6b", "4a 4b 6a pa 6b"},
		{plan.TryOrder{Count: 2}, "pa 4a 6a 4b 6b", "pa 4a 6a 4b 6b"},
		{plan.TryOrder{Count: 9}, "4a 4b 4c 6a", "4a 4b 4c 6a"},
		{plan.TryOrder{First: v4}, "6a 6b 4a 4b", "4a 6a 4b 6b"},
		{plan.TryOrder{First: v4}, "pa 4a 6a 4b 6b", "4a pa 6a 4b 6b"},
		{plan.TryOrder{First: v4, Count: 2}, "6a 6b 4a 4b", "4a 4b 6a 6b"},
		{plan.TryOrder{First: v4, Count: 2}, "pa 4a 6a 4b 6b", "4a 4b pa 6a 6b"},
		{plan.TryOrder{First: v6, Count: 1}, "4a 6a pa 4b 6b", "6a 4a pa 6b 4b"},
		{plan.TryOrder{First: v6, Count: 2}, "4a 4b 4c 6a", "6a 4a 4b 4c"},
		{plan.TryOrder{First: pipe, Count: 1}, "6a pa 4a pb", "pa 6a 4a pb"},
		{plan.TryOrder{First: pipe, Count: 2}, "6a pa 4a pb", "pa pb 6a 4a"},
		{plan.TryOrder{First: pipe, Count: 2}, "4a 4b 6a 6b", "4a 6a 4b 6b"},
		// Envoy resets connections to hosts that have such addresses among others.
		{any, "ia 4a 4b ib", "ia 4a ib 4b"},
		{plan.TryOrder{First: plan.InternalFamily}, "4a ia 6a", "ia 4a 6a"},
	} {
		var all []net.Addr
		names := make(map[net.Addr]string)
		for _, n := range strings.Fields(x.all) {
			a := addressOf(n)
			all, names[a] = append(all, a), n
		}
		at := newPlace(&plan.Endpoint{Addr: all[0], Additional: all[1:]}, x.order)
		got := []string{names[at.addr]}
		for _, a := range at.more {
			got = append(got, names[a])
		}
		if strings.Join(got, " ") != x.want {
			t.Errorf("%+v, %s: got %v, want %s", x.order, x.all, got, x.want)
		}
	}
}

// addressOf returns an address of the family that the first letter says.
func addressOf(name string) net.Addr {
	switch name[0] {
	case '4':
		return ip(fmt.Sprintf("192.0.2.1:%d", name[1]))
	case '6':
		return ip(fmt.Sprintf("[2001:db8::1]:%d", name[1]))
	case 'p':
		return filter.UnixAddr{Path: name}
	}
	return filter.InternalAddr{Listener: name}
}
