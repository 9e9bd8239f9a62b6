package rawhttp

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"time"
)

const probe = "GET /probe HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"

// ask sends bytes that hold n requests over a connection of its own, and returns what
// came back: the statuses, and whether the connection was kept: then another request was
// answered over it. Who says nothing for so long as patience is taken to say nothing.
func ask(network, addr, text string, n int, patience time.Duration) string {
	c, err := net.Dial(network, addr)
	if err != nil {
		return err.Error()
	}
	defer c.Close()
	r := bufio.NewReader(c)
	late := func() { _ = c.SetDeadline(time.Now().Add(patience)) }
	late()
	_, _ = io.WriteString(c, text) // who refuses need not read all
	var out []string
	for range n {
		late()
		resp, err := http.ReadResponse(r, methodOf(text))
		if err != nil {
			return strings.Join(append(out, how(err)), " ")
		}
		out = append(out, fmt.Sprint(resp.StatusCode))
		if _, err := io.Copy(io.Discard, resp.Body); err != nil {
			return strings.Join(append(out, how(err)), " ")
		}
		if resp.Close {
			late()
			rest, err := io.ReadAll(r)
			if err != nil {
				return strings.Join(append(out, "close,", how(err)), " ")
			}
			if len(rest) > 0 {
				out = append(out, fmt.Sprintf("%q", rest))
			}
			return strings.Join(append(out, "close"), " ")
		}
	}
	late()
	return strings.Join(append(out, probed(c, r)), " ")
}

// probed sends one more request.
func probed(c net.Conn, r *bufio.Reader) string {
	_, _ = io.WriteString(c, probe)
	resp, err := http.ReadResponse(r, nil)
	if err != nil {
		return "close"
	}
	body, err := io.ReadAll(resp.Body)
	if string(body) != "/probe" {
		return fmt.Sprintf("out of step: %d %q (%v)", resp.StatusCode, body, err)
	}
	return "keep"
}

func methodOf(text string) *http.Request {
	method, _, _ := strings.Cut(text, " ")
	return &http.Request{Method: method}
}

// how tells how a connection ended.
func how(err error) string {
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return "silent"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "closed"
	case strings.Contains(err.Error(), "reset by peer"):
		return "reset"
	}
	return err.Error()
}
