package hcm

import "github.com/ginnel/ginnel/filter"

// log writes an entry of the request.
func (s *stream) log(t filter.AccessLogType) {
	for _, l := range s.conn.service.logs {
		l.Log(&s.info, t)
	}
}
