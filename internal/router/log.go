package router

import (
	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/httpmsg"
)

// log writes an entry for a try to the upstream logs: of the request as it was sent, with
// what this try brought.
func (x *call) log(t *try, f failure, head *httpmsg.Response, kind filter.AccessLogType) {
	if len(x.router.logs) == 0 || t.info == nil {
		return
	}
	i, h, e := *t.info, *t.info.HTTP(), *t.info.Rest()
	e.HTTP, i.Extra = &h, &e
	i.Duration = max(x.now(), 1)
	i.Flags = f.flags()
	x.mu.Lock()
	e.Details = f.details(x.answer.begun)
	x.mu.Unlock()
	h.Request, h.Response, h.Code = t.head, head, 0
	if head != nil {
		h.Code = head.Status
		if f.kind == noFailure {
			e.Details = "via_upstream"
		}
	}
	for _, l := range x.router.logs {
		l.Log(&i, kind)
	}
}
