package hcm

import "github.com/ginnel/ginnel/httpmsg"

// StopRequest implements filter.HTTPHost.
func (s *stream) StopRequest(why *httpmsg.ResetError) { s.w.StopRequest(why) }
