package ginnel_test

import (
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"

	"google.golang.org/protobuf/types/known/structpb"

	"github.com/ginnel/ginnel"
	"github.com/ginnel/ginnel/filter"
)

// A Go program serves an internal name and dials it as a cluster would.
func ExampleProxy_Listen() {
	p := &ginnel.Proxy{}
	if err := p.Start(context.Background()); err != nil {
		log.Fatal(err)
	}
	defer p.Close()

	l, err := p.Listen("internal", "greeter")
	if err != nil {
		log.Fatal(err)
	}
	go func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		fmt.Fprintf(c, "hello, you dialled %s\n", c.LocalAddr())
	}()

	c, err := p.Dial(context.Background(), "internal", "greeter/window-2")
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	answer, _ := io.ReadAll(c)
	fmt.Print(string(answer))
	// Output: hello, you dialled envoy://greeter/window-2
}

// Metadata travels with a connection into the proxy and out of it.
func ExampleWithPassthrough() {
	p := &ginnel.Proxy{}
	if err := p.Start(context.Background()); err != nil {
		log.Fatal(err)
	}
	defer p.Close()
	l, err := p.Listen("internal", "app")
	if err != nil {
		log.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		info, _ := ginnel.ConnInfo(c)
		fmt.Println("came with", info.Metadata["tenant"].Fields["name"].GetStringValue())
	}()

	tenant, _ := structpb.NewStruct(map[string]any{"name": "blue"})
	ctx := ginnel.WithPassthrough(context.Background(), &filter.Passthrough{
		Metadata: filter.Metadata{"tenant": tenant},
	})
	c, err := p.Dial(ctx, "internal", "app")
	if err != nil {
		log.Fatal(err)
	}
	c.Close()
	<-done
	// Output: came with blue
}

// Dial fits http.Transport, and Listen fits http.Serve.
func ExampleProxy_Dial_http() {
	p := &ginnel.Proxy{}
	if err := p.Start(context.Background()); err != nil {
		log.Fatal(err)
	}
	defer p.Close()
	l, err := p.Listen("internal", "web")
	if err != nil {
		log.Fatal(err)
	}
	go http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s by way of %s", r.URL.Path, r.Host)
	}))

	client := http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, address string) (net.Conn, error) {
			return p.Dial(ctx, "internal", address)
		},
	}}
	defer client.CloseIdleConnections()
	r, err := client.Get("http://web/inside")
	if err != nil {
		log.Fatal(err)
	}
	defer r.Body.Close()
	answer, _ := io.ReadAll(r.Body)
	fmt.Println(string(answer))
	// Output: /inside by way of web
}
