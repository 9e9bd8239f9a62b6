package state

import (
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/cespare/xxhash/v2"

	"github.com/ginnel/ginnel/filter"
)

// commands are Envoy 1.40.0's operators but COALESCE, and those of OwnOperators. What TLS or
// HTTP would know prints on a plain TCP connection what Envoy prints there.
var commands = withTLS(map[string]commandSpec{
	"HOP_PATH":      {bare, text(appendPath)},
	"CHAIN_ID":      {bare, text(func(dst []byte, m moment) []byte { return hex16(dst, m.ChainID) })},
	"HOPS":          {bare, number64(func(m moment) uint64 { return uint64(m.Depth) })},
	"LISTENER_NAME": {bare, textOf(listenerName)},

	"START_TIME":       {argsOptional, clockOf(startTime, false)},
	"START_TIME_LOCAL": {argsOptional, clockOf(startTime, true)},
	"EMIT_TIME":        {argsOptional, clockOf(emitTime, false)},
	"EMIT_TIME_LOCAL":  {argsOptional, clockOf(emitTime, true)},
	"DURATION":         {bare, millis(func(m moment) (time.Duration, bool) { return m.elapsed(), true })},
	"COMMON_DURATION":  {argsRequired, commonDuration},

	"UPSTREAM_CONNECTION_POOL_READY_DURATION": {bare, millis(readyDuration)},

	"BYTES_RECEIVED":                 {bare, number64(received)},
	"BYTES_SENT":                     {bare, number64(sent)},
	"DOWNSTREAM_WIRE_BYTES_RECEIVED": {bare, wire(func(h *filter.HTTPInfo) uint64 { return h.DownWire.Received }, received)},
	"DOWNSTREAM_WIRE_BYTES_SENT":     {bare, wire(func(h *filter.HTTPInfo) uint64 { return h.DownWire.Sent }, sent)},
	"UPSTREAM_WIRE_BYTES_RECEIVED":   {bare, wire(func(h *filter.HTTPInfo) uint64 { return h.UpWire.Received }, func(m moment) uint64 { return m.Up.Received })},
	"UPSTREAM_WIRE_BYTES_SENT":       {bare, wire(func(h *filter.HTTPInfo) uint64 { return h.UpWire.Sent }, func(m moment) uint64 { return m.Up.Sent })},

	"RESPONSE_FLAGS":                 {bare, text(func(dst []byte, m moment) []byte { return m.AppendFlags(dst) })},
	"RESPONSE_FLAGS_LONG":            {bare, text(func(dst []byte, m moment) []byte { return m.AppendLongFlags(dst) })},
	"RESPONSE_CODE_DETAILS":          {argsOptional, codeDetails},
	"CONNECTION_TERMINATION_DETAILS": {bare, textOf(func(m moment) string { return m.Rest().Termination })},
	"ACCESS_LOG_TYPE":                {bare, textOf(func(m moment) string { return m.t.String() })},

	"CONNECTION_ID":         {bare, number64(func(m moment) uint64 { return m.ID })},
	"STREAM_ID":             {bare, optional(streamID)},
	"UNIQUE_ID":             {bare, text(func(dst []byte, _ moment) []byte { return uuid(dst, rand.Uint64(), rand.Uint64()) })},
	"FILTER_CHAIN_NAME":     {bare, textOf(chainName)},
	"REQUESTED_SERVER_NAME": {argsOptional, serverName},
	"HOSTNAME":              {bare, hostname},
	"ENVIRONMENT":           {argsRequired | lengthAllowed, environment},

	"DOWNSTREAM_LOCAL_ADDRESS":                     {bare, address(local)},
	"DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT":        {argsOptional, withoutPort(local)},
	"DOWNSTREAM_LOCAL_PORT":                        {bare, port(local)},
	"DOWNSTREAM_LOCAL_ADDRESS_ENDPOINT_ID":         {bare, endpointID(local)},
	"DOWNSTREAM_DIRECT_LOCAL_ADDRESS":              {bare, address(directLocal)},
	"DOWNSTREAM_DIRECT_LOCAL_ADDRESS_WITHOUT_PORT": {argsOptional, withoutPort(directLocal)},
	"DOWNSTREAM_DIRECT_LOCAL_PORT":                 {bare, port(directLocal)},
	"DOWNSTREAM_DIRECT_LOCAL_ADDRESS_ENDPOINT_ID":  {bare, endpointID(directLocal)},

	"DOWNSTREAM_REMOTE_ADDRESS":                     {bare, address(remote)},
	"DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT":        {argsOptional, withoutPort(remote)},
	"DOWNSTREAM_REMOTE_PORT":                        {bare, port(remote)},
	"DOWNSTREAM_DIRECT_REMOTE_ADDRESS":              {bare, address(directRemote)},
	"DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT": {argsOptional, withoutPort(directRemote)},
	"DOWNSTREAM_DIRECT_REMOTE_PORT":                 {bare, port(directRemote)},

	"DOWNSTREAM_DETECTED_CLOSE_TYPE": {bare, textOf(func(m moment) string { return m.DownClose.String() })},
	"DOWNSTREAM_LOCAL_CLOSE_REASON":  {bare, textOf(func(m moment) string { return m.Rest().DownReason })},
	"UPSTREAM_DETECTED_CLOSE_TYPE":   {bare, textOf(upClose)},
	"UPSTREAM_LOCAL_CLOSE_REASON":    {bare, textOf(func(m moment) string { return m.Rest().UpReason })},

	"UPSTREAM_CLUSTER":                     {bare, textOf(clusterName)},
	"UPSTREAM_CLUSTER_RAW":                 {bare, textOf(clusterNameRaw)},
	"UPSTREAM_LOCAL_ADDRESS":               {bare, address(upLocal)},
	"UPSTREAM_LOCAL_ADDRESS_WITHOUT_PORT":  {argsOptional, withoutPort(upLocal)},
	"UPSTREAM_LOCAL_PORT":                  {bare, port(upLocal)},
	"UPSTREAM_REMOTE_ADDRESS":              {bare, address(upRemote)},
	"UPSTREAM_REMOTE_ADDRESS_WITHOUT_PORT": {argsOptional, withoutPort(upRemote)},
	"UPSTREAM_REMOTE_PORT":                 {bare, port(upRemote)},
	"UPSTREAM_REMOTE_ADDRESS_ENDPOINT_ID":  {bare, endpointID(upRemote)},
	"UPSTREAM_CONNECTION_ID":               {bare, number64(func(m moment) uint64 { return m.Up.ID })},
	"UPSTREAM_CONNECTION_IDS_ATTEMPTED":    {bare, optional(upstreamID)},
	"UPSTREAM_REQUEST_ATTEMPT_COUNT":       {bare, number64(func(m moment) uint64 { return uint64(m.UpAttempts) })},
	"UPSTREAM_TRANSPORT_FAILURE_REASON": {bare, textOf(func(m moment) string {
		return strings.ReplaceAll(m.Rest().UpFailure, " ", "_")
	})},

	"UPSTREAM_HOST":                              {bare, hosts(false, hostAddress)},
	"UPSTREAM_HOST_NAME":                         {bare, hosts(false, hostName)},
	"UPSTREAM_HOST_NAME_WITHOUT_PORT":            {bare, hosts(false, hostNameNoPort)},
	"UPSTREAM_HOSTS_ATTEMPTED":                   {bare, hosts(true, hostAddress)},
	"UPSTREAM_HOSTS_ATTEMPTED_WITHOUT_PORT":      {bare, hosts(true, hostAddressNoPort)},
	"UPSTREAM_HOST_NAMES_ATTEMPTED":              {bare, hosts(true, hostName)},
	"UPSTREAM_HOST_NAMES_ATTEMPTED_WITHOUT_PORT": {bare, hosts(true, hostNameNoPort)},

	"FILTER_STATE":          {argsOptional | lengthAllowed, filterState(downState)},
	"UPSTREAM_FILTER_STATE": {argsOptional | lengthAllowed, filterState(upState)},
	"DYNAMIC_METADATA":      {argsRequired | lengthAllowed, metadataOf(dynamicMetadata)},
	"CLUSTER_METADATA":      {argsRequired, metadataOf(clusterMetadata)},
	"UPSTREAM_METADATA":     {argsRequired, metadataOf(hostMetadata)},
	"METADATA":              {unchecked, anyMetadata},

	// of requests only
	"REQ":               {argsRequired | lengthAllowed, header(requestHeader)},
	"REQUEST_HEADER":    {argsRequired | lengthAllowed, header(requestHeader)},
	"STREAM_INFO_REQ":   {argsRequired | lengthAllowed, header(requestHeader)},
	"REQ_WITHOUT_QUERY": {argsRequired | lengthAllowed, header(requestWithoutQuery)},
	"RESP":              {argsRequired | lengthAllowed, header(responseHeader)},
	"RESPONSE_HEADER":   {argsRequired | lengthAllowed, header(responseHeader)},
	"TRAILER":           {argsRequired | lengthAllowed, header(responseTrailer)},
	"RESPONSE_TRAILER":  {argsRequired | lengthAllowed, header(responseTrailer)},

	"PATH":                 {argsOptional | lengthAllowed, path},
	"QUERY_PARAM":          {argsRequired | lengthAllowed, queryParam},
	"QUERY_PARAMS":         {argsOptional | lengthAllowed, queryParams},
	"PROTOCOL":             {bare, ofRequest(func(h *filter.HTTPInfo) string { return h.Protocol.String() })},
	"UPSTREAM_PROTOCOL":    {bare, ofRequest(func(h *filter.HTTPInfo) string { return h.UpProtocol.String() })},
	"RESPONSE_CODE":        {bare, number64(responseCode)},
	"ROUTE_NAME":           {bare, ofRequest(routeName)},
	"VIRTUAL_CLUSTER_NAME": {bare, ofRequest(virtualCluster)},
	"GRPC_STATUS":          {argsOptional, grpcStatus},
	"GRPC_STATUS_NUMBER":   {bare, grpcNumber},
	"LOCAL_REPLY_BODY":     {bare, text(localReplyBody)},

	"REQUEST_HEADERS_BYTES":   {bare, stream(requestHeaderBytes)},
	"RESPONSE_HEADERS_BYTES":  {bare, stream(responseHeaderBytes)},
	"RESPONSE_TRAILERS_BYTES": {bare, stream(responseTrailerBytes)},
	"ROUTE_RESOLUTION_COUNT":  {bare, stream(routeResolutions)},

	"DOWNSTREAM_HEADER_BYTES_RECEIVED": {bare, stream(func(h *filter.HTTPInfo) uint64 { return h.DownWire.HeaderReceived })},
	"DOWNSTREAM_HEADER_BYTES_SENT":     {bare, stream(func(h *filter.HTTPInfo) uint64 { return h.DownWire.HeaderSent })},
	"UPSTREAM_HEADER_BYTES_RECEIVED":   {bare, stream(func(h *filter.HTTPInfo) uint64 { return h.UpWire.HeaderReceived })},
	"UPSTREAM_HEADER_BYTES_SENT":       {bare, stream(func(h *filter.HTTPInfo) uint64 { return h.UpWire.HeaderSent })},

	"DOWNSTREAM_DECOMPRESSED_HEADER_BYTES_RECEIVED": {bare, stream(func(h *filter.HTTPInfo) uint64 { return plain(h.DownWire.PlainReceived, h.DownWire.HeaderReceived) })},
	"DOWNSTREAM_DECOMPRESSED_HEADER_BYTES_SENT":     {bare, stream(func(h *filter.HTTPInfo) uint64 { return plain(h.DownWire.PlainSent, h.DownWire.HeaderSent) })},
	"UPSTREAM_DECOMPRESSED_HEADER_BYTES_RECEIVED":   {bare, stream(func(h *filter.HTTPInfo) uint64 { return plain(h.UpWire.PlainReceived, h.UpWire.HeaderReceived) })},
	"UPSTREAM_DECOMPRESSED_HEADER_BYTES_SENT":       {bare, stream(func(h *filter.HTTPInfo) uint64 { return plain(h.UpWire.PlainSent, h.UpWire.HeaderSent) })},

	"REQUEST_DURATION":         {bare, millis(points["DS_RX_END"])},
	"REQUEST_TX_DURATION":      {bare, millis(points["US_TX_END"])},
	"RESPONSE_DURATION":        {bare, millis(points["US_RX_BEG"])},
	"RESPONSE_TX_DURATION":     {bare, millis(between(points["US_RX_BEG"], points["DS_TX_END"]))},
	"ROUTE_RESOLUTION_TIME_US": {bare, nothing},

	// not known without tracing
	"TRACE_ID": {bare, nothing}, "SPAN_ID": {bare, nothing},
	"CUSTOM_FLAGS": {bare, emptyText},

	// not known without QUIC
	"BYTES_RETRANSMITTED": {bare, zero}, "PACKETS_RETRANSMITTED": {bare, zero}, "ROUNDTRIP_DURATION": {bare, nothing},
	// Envoy reads it from the socket
	"DOWNSTREAM_CX_RTT": {bare, unsupported}, "CEL": {unchecked, unsupported},

	// not known, or not of crypto/tls
	"DOWNSTREAM_LOCAL_OTHERNAME_SAN": {bare, nothing}, "DOWNSTREAM_PEER_OTHERNAME_SAN": {bare, nothing},
})

// text makes an operator that always has a value.
func text(f func([]byte, moment) []byte) builder {
	return optional(func(dst []byte, m moment) ([]byte, bool) { return f(dst, m), true })
}

// textOf makes an operator whose empty value is missing.
func textOf(f func(moment) string) builder {
	return optional(func(dst []byte, m moment) ([]byte, bool) {
		s := f(m)
		return append(dst, s...), s != ""
	})
}

func optional(p printer) builder {
	return func(args) (operator, error) { return operator{text: p}, nil }
}

func number64(f func(moment) uint64) builder {
	p := func(dst []byte, m moment) ([]byte, bool) { return strconv.AppendUint(dst, f(m), 10), true }
	return func(args) (operator, error) { return operator{text: p, json: p}, nil }
}

func millis(f func(moment) (time.Duration, bool)) builder {
	return func(args) (operator, error) { return durationIn(time.Millisecond, f), nil }
}

func durationIn(unit time.Duration, f func(moment) (time.Duration, bool)) operator {
	p := func(dst []byte, m moment) ([]byte, bool) {
		d, ok := f(m)
		if !ok {
			return dst, false
		}
		return strconv.AppendInt(dst, int64(d/unit), 10), true
	}
	return operator{text: p, json: p}
}

func nothing(args) (operator, error) {
	return operator{text: func(dst []byte, _ moment) ([]byte, bool) { return dst, false }}, nil
}

func emptyText(args) (operator, error) { return literally(""), nil }

// localReplyBody is known while a reply is made, and not to logs (Envoy).
func localReplyBody(dst []byte, m moment) []byte {
	if h := m.HTTP(); h != nil && m.t == filter.NotSet {
		dst = append(dst, h.LocalReplyBody...)
	}
	return dst
}

func zero(a args) (operator, error) { return number64(func(moment) uint64 { return 0 })(a) }

func unsupported(a args) (operator, error) {
	return operator{}, fmt.Errorf("%s is not supported yet", a.name)
}

// appendPath recurses as deep as the chain is long; the hop budget bounds it.
func appendPath(dst []byte, m moment) []byte {
	if m.Parent != nil && m.Depth > 0 {
		dst = append(appendPath(dst, moment{Info: m.Parent}), '>')
	}
	return append(dst, listenerName(m)...)
}

func listenerName(m moment) string {
	if m.Listener == nil {
		return ""
	}
	return m.Listener.Name
}

func chainName(m moment) string {
	if m.Chain == nil {
		return ""
	}
	return m.Chain.Name
}

func clusterName(m moment) string {
	if c := m.Up.ClusterInfo; c != nil && c.StatName != "" {
		return c.StatName
	}
	return clusterNameRaw(m)
}

func clusterNameRaw(m moment) string {
	if c := m.Up.ClusterInfo; c != nil {
		return c.Name
	}
	return ""
}

func startTime(m moment) time.Time { return m.Start }
func emitTime(moment) time.Time    { return time.Now() }

func clockOf(f func(moment) time.Time, local bool) builder {
	return func(a args) (operator, error) {
		c, err := newClock(a.text, local)
		if err != nil {
			return operator{}, err
		}
		return operator{text: func(dst []byte, m moment) ([]byte, bool) { return c.append(dst, f(m)), true }}, nil
	}
}

func hex16(dst []byte, n uint64) []byte {
	for shift := 60; shift >= 0; shift -= 4 {
		dst = append(dst, hexDigits[n>>shift&15])
	}
	return dst
}

// uuid prints 128 bits in the form of a version 4 UUID.
func uuid(dst []byte, hi, lo uint64) []byte {
	hi = hi&^0xf000 | 0x4000
	lo = lo&^(3<<62) | 2<<62
	var b [36]byte
	h := hex16(hex16(b[:0:36], hi), lo)
	for i, end := range [...]int{8, 12, 16, 20, 32} {
		if i > 0 {
			dst = append(dst, '-')
		}
		start := [...]int{0, 8, 12, 16, 20}[i]
		dst = append(dst, h[start:end]...)
	}
	return dst
}

// streamID prints the id of a request; that of a connection is the same for all its
// lines.
func streamID(dst []byte, m moment) ([]byte, bool) {
	if h := m.HTTP(); h != nil {
		return append(dst, h.StreamID...), h.StreamID != ""
	}
	seed := uint64(m.Start.UnixNano())
	return uuid(dst, mix(m.ChainID, seed), mix(m.ID, seed)), true
}

func mix(a, b uint64) uint64 {
	var p [16]byte
	for i := range 8 {
		p[i], p[8+i] = byte(a>>(8*i)), byte(b>>(8*i))
	}
	return xxhash.Sum64(p[:])
}

func hostname(a args) (operator, error) {
	h, err := os.Hostname()
	if err != nil {
		return nothing(a)
	}
	return literally(h), nil
}

func environment(a args) (operator, error) {
	v, ok := os.LookupEnv(a.text)
	if !ok {
		return literally("-"), nil // Envoy: also with omit_empty_values
	}
	return literally(a.cutText(v)), nil
}

func local(m moment) net.Addr        { return m.Local }
func remote(m moment) net.Addr       { return m.Remote }
func directLocal(m moment) net.Addr  { return m.DirectLocal() }
func directRemote(m moment) net.Addr { return m.DirectRemote() }
func upLocal(m moment) net.Addr      { return m.Up.Local }
func upRemote(m moment) net.Addr     { return m.Up.Remote }

func upstreamID(dst []byte, m moment) ([]byte, bool) {
	if !connected(m) {
		return dst, false
	}
	return strconv.AppendUint(dst, m.Up.ID, 10), true
}

func codeDetails(a args) (operator, error) {
	if a.text == "ALLOW_WHITESPACES" {
		return textOf(func(m moment) string { return m.Rest().Details })(a)
	}
	return textOf(func(m moment) string { return underscored(m.Rest().Details) })(a)
}

// underscored replaces blanks.
func underscored(s string) string {
	if !strings.ContainsAny(s, " \t\n\v\f\r") {
		return s
	}
	return strings.Map(func(r rune) rune {
		if strings.ContainsRune(" \t\n\v\f\r", r) {
			return '_'
		}
		return r
	}, s)
}

// upClose prints nothing where there never was an upstream. How an upstream connection
// ends does not show in a request (Envoy).
func upClose(m moment) string {
	if m.HTTP() != nil && m.Up.Host != nil {
		return filter.CloseNormal.String()
	}
	if m.UpClose == 0 {
		return ""
	}
	return m.UpClose.String()
}
