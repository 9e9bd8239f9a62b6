package script

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"

	"github.com/miekg/dns"
	"github.com/rogpeppe/go-internal/testscript"
)

// A nameServer answers from a list of records, over UDP and TCP. Names that it does not
// have do not exist; without any record it fails.
type nameServer struct {
	mu      sync.Mutex
	records []dns.RR
	faults  map[string]string // by name: silent, or an RCODE
}

// silent is the fault of a name that is not answered for.
const silent = "silent"

// cmdDNS starts a name server, or gives it other records.
func (s *session) cmdDNS(_ *testscript.TestScript, neg bool, args []string) error {
	if neg || len(args) == 0 {
		return errors.New("usage: dns NAME [RECORD]...")
	}
	var all []dns.RR
	faults := make(map[string]string)
	for _, text := range args[1:] {
		if name, fault, ok := strings.Cut(text, " "); ok && (fault == silent || dns.StringToRcode[fault] != 0) {
			faults[name] = fault
			continue
		}
		rr, err := dns.NewRR(text)
		if err != nil {
			return err
		}
		all = append(all, rr)
	}
	n := s.nameServers[args[0]]
	if n == nil {
		n = &nameServer{}
		port, err := s.ports.get(args[0])
		if err != nil {
			return err
		}
		stop, err := n.serve(fmt.Sprintf("127.0.0.53:%d", port)) // UDP of 127.0.0.1 is what keeps the port
		if err != nil {
			return err
		}
		s.stops = append(s.stops, stop)
		if s.nameServers == nil {
			s.nameServers = make(map[string]*nameServer)
		}
		s.nameServers[args[0]] = n
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.records, n.faults = all, faults
	return nil
}

func (n *nameServer) serve(at string) (stop func(), err error) {
	p, err := net.ListenPacket("udp", at)
	if err != nil {
		return nil, err
	}
	l, err := listen(at)
	if err != nil {
		p.Close()
		return nil, err
	}
	var wg sync.WaitGroup
	servers := []*dns.Server{{PacketConn: p, Handler: n}, {Listener: l, Handler: n}}
	for _, s := range servers {
		up := make(chan struct{})
		s.NotifyStartedFunc = func() { close(up) }
		wg.Go(func() { s.ActivateAndServe() })
		<-up
	}
	return func() {
		for _, s := range servers {
			s.Shutdown()
		}
		wg.Wait()
	}, nil
}

// ServeDNS implements dns.Handler.
func (n *nameServer) ServeDNS(w dns.ResponseWriter, q *dns.Msg) {
	n.mu.Lock()
	defer n.mu.Unlock()
	m := new(dns.Msg).SetReply(q)
	asked := q.Question[0]
	fault := n.faults[asked.Name]
	switch m.Rcode = dns.RcodeNameError; {
	case fault == silent:
		return
	case fault != "":
		m.Rcode = dns.StringToRcode[fault]
	case len(n.records) == 0:
		m.Rcode = dns.RcodeServerFailure
	}
	for _, rr := range n.records {
		if h := rr.Header(); h.Name == asked.Name {
			m.Rcode = dns.RcodeSuccess
			if h.Rrtype == asked.Qtype {
				m.Answer = append(m.Answer, rr)
			}
		}
	}
	w.WriteMsg(m)
}
