// Package accesslog writes a line for each connection: it compiles access log
// configurations, their filters included, and keeps the files that the lines go to.
//
// Lines are written asynchronously. Each file has one goroutine that writes, begun
// with its first line and awaited by Files.Close; whoever logs never waits for a
// disk.
package accesslog
