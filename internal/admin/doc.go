// Package admin is the proxy's admin server: it shows what a running proxy does and
// changes it, at the paths and in the shapes of Envoy's.
//
// What changes something needs POST. The server asks for no credentials, so who
// reaches its address controls the proxy; pages of a browser do not, see
// [Server.ServeHTTP].
package admin
