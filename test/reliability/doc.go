// Package reliability runs ginnel as a process and does to it what a hostile or broken
// peer does: peers that read nothing, thousands of clients that never finish, floods of
// frames. Others must be served meanwhile, and what a peer can make grow has a bound.
package reliability
