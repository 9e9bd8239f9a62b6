package main

import (
	"context"
	_ "embed"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/ginnel/ginnel"
	"github.com/ginnel/ginnel/builtin"
	"github.com/ginnel/ginnel/internal/load"
)

//go:embed demo.yaml
var demoConfig string

// demo runs a small chain of internal listeners, sends a first connection through it
// and leaves it running.
func demo(args []string) int {
	once := len(args) == 1 && args[0] == "--once"
	if len(args) > 0 && !once {
		fmt.Fprintln(os.Stderr, "usage: ginnel demo [--once]")
		return 1
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := runDemo(ctx, once); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func runDemo(ctx context.Context, once bool) error {
	r, err := load.Load(load.Source{Override: demoConfig}, builtin.Registry())
	if err != nil {
		return err
	}
	if err := r.Err(false); err != nil {
		return err
	}
	p := &ginnel.Proxy{Bootstrap: r.Bootstrap}
	if err := p.Start(ctx); err != nil {
		return err
	}
	defer p.Close()
	if err := serveEcho(p); err != nil {
		return err
	}
	street := p.Addr("street").String()
	fmt.Printf(`ginnel demo: one process, one port, three internal hops

  client -> %s (listener street) -> passage -> yard -> echo
            socket                              in-process, by name: no sockets

`, street)
	if err := firstConnection(street); err != nil {
		return err
	}
	if once {
		return nil
	}
	fmt.Printf(`
It goes on running; look at it (Ctrl-C ends it):

  nc %s
  curl http://%s/inproc
  curl http://%s/stats?usedonly
  curl http://%s/listeners

`, strings.Replace(street, ":", " ", 1), p.AdminAddr(), p.AdminAddr(), p.AdminAddr())
	return p.Wait()
}

// serveEcho serves the internal name "echo" with ordinary Go code.
func serveEcho(p *ginnel.Proxy) error {
	l, err := p.Listen("internal", "echo")
	if err != nil {
		return err
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go answer(c)
		}
	}()
	return nil
}

// answer tells a connection what it brought along, then echoes.
func answer(c net.Conn) {
	defer c.Close()
	if info, ok := ginnel.ConnInfo(c); ok {
		client := "unknown"
		if o, ok := info.State.Get("demo.client"); ok {
			client, _ = o.Serialize()
		}
		fmt.Fprintf(c, "hello %s, you came by %s\n", client, strings.Join(info.Path(), " > "))
	}
	_, _ = io.Copy(c, c)
}

func firstConnection(street string) error {
	begin := time.Now()
	c, err := net.Dial("tcp", street)
	if err != nil {
		return err
	}
	defer c.Close()
	const text = "is anybody in?\n"
	if _, err := io.WriteString(c, text); err != nil {
		return err
	}
	if err := c.(*net.TCPConn).CloseWrite(); err != nil {
		return err
	}
	answer, err := io.ReadAll(c)
	if err != nil {
		return err
	}
	fmt.Printf("A first connection sent   %q and ended its side;\nwhat came back in %v was %q.\n\n", text, time.Since(begin).Round(time.Microsecond), answer)
	return nil
}
