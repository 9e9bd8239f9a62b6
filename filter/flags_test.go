package filter

import "testing"

// TestFlagsPrintedInOrder checks that flags stand as they were raised, each once, and that
// one after the other in the usual order needs no memory.
func TestFlagsPrintedInOrder(t *testing.T) {
	cases := []struct {
		raise []Flags
		want  string
	}{
		{nil, "-"},
		{[]Flags{UpstreamRequestTimeout}, "UT"},
		{[]Flags{UpstreamConnectionFailure, UpstreamRetryLimitExceeded}, "UF,URX"},
		{[]Flags{UpstreamRetryLimitExceeded, UpstreamConnectionFailure}, "URX,UF"},
		{[]Flags{DelayInjected, UpstreamRetryLimitExceeded, UpstreamRequestTimeout, DelayInjected}, "DI,URX,UT"},
		{[]Flags{DelayInjected, UpstreamRequestTimeout, DownstreamConnectionTermination}, "DI,UT,DC"},
		{[]Flags{UnconditionalDropOverload, FailedLocalHealthCheck}, "UDO,LH"},
	}
	for _, c := range cases {
		var i Info
		for _, f := range c.raise {
			i.Raise(f)
		}
		if got := string(i.AppendFlags(nil)); got != c.want {
			t.Errorf("%s, want %s", got, c.want)
		}
	}
	if n := testing.AllocsPerRun(10, func() {
		var i Info
		i.Raise(UpstreamConnectionFailure)
		i.Raise(UpstreamRetryLimitExceeded)
	}); n > 0 {
		t.Errorf("%v allocations", n)
	}
}
