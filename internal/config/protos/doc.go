// Package protos links every protobuf message that a configuration may name,
// so that each can be resolved inside a google.protobuf.Any.
//
// It exports nothing: importing it registers the messages of
// go-control-plane/envoy, go-control-plane/contrib (which holds Istio's
// types) and cncf/xds with the protobuf runtime. A type that Envoy knows and
// ginnel does not implement can then be named as such, and its fields checked.
package protos

//go:generate go run gen.go
