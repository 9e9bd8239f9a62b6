package main

import "time"

// A job is what the load generator is told to do, one line of JSON.
type job struct {
	Verb  string // "run", "open", "close"
	Addr  string // of the proxy, or of the backend itself
	Certs string `json:",omitempty"` // where those of TLS are; "": plain text
	PIDs  []int  // processes whose CPU time is taken with the counts

	// How many connections of each kind "run" keeps busy at the same time.
	Down, Up, Messages, Connects int
	HTTP1, HTTP2                 int // of requests, one at a time or Streams at a time
	Streams                      int

	Idle         int // connections that "open" leaves open
	Size         int // bytes of a message, or of the body of a response
	Warm, Window time.Duration
	Every        time.Duration // >0: also count each such part of the window
}

// An answer is what came of a job, one line of JSON.
type answer struct {
	Error string `json:",omitempty"`

	Seconds  float64 // the window, as it was
	Bytes    int64   // of the bulk connections, as received
	Messages int64   // round trips, and requests
	Connects int64   // connections made, used and closed
	Still    int     // connections on which nothing happened in the window
	Message  latency
	Connect  latency
	Series   []part `json:",omitempty"` // of the window, where the job has Every

	CPU   time.Duration // of the processes asked for
	Ticks time.Duration // the same by the kernel's coarse accounting
	Own   time.Duration // of the load generator itself
}

// A part is a stretch of a window.
type part struct {
	Bytes int64
	CPU   time.Duration
}

// A latency sums up a histogram; nanoseconds.
type latency struct{ P50, P99, Max float64 }

// What the first byte of a connection asks of the backend.
const (
	modeEcho = 'e' // send everything back, this byte included
	modeSink = 's' // read and drop
	modeFlow = 'd' // send without end
	modeHTTP = 'G' // it is a GET
)

const bulkWrite = 64 << 10 // bytes of one write to a bulk connection
