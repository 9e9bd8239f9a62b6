package stats

import "strings"

// A tagRule is one of Envoy's default tags: either a regular expression, whose
// first group is taken out of the name and whose second is the tag's value, or
// a pattern of dot-separated tokens: "$" is the value, "*" one token, "**" the
// rest.
type tagRule struct {
	tag     string
	regex   string
	needs   string // the name contains it, else regex cannot match
	not     string // a value that is no match
	pattern string
}

// expandTagRegex fills in the shorthands of defaultTagRules.
var expandTagRegex = strings.NewReplacer(
	"<ADDRESS>", `(?:(?:\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3}|\[[a-fA-F_\d]+\])_\d+)`,
	"<VALUE>", `[^\.]+`,
	"<CIPHER>", `[\w-]+`,
	"<OWNER>", `(?:listener|cluster)\..*?`,
)

// defaultTagRules are the tags of Envoy 1.40's well_known_names.cc in its order,
// which is the order of the labels: regular expressions first, then patterns.
var defaultTagRules = []tagRule{
	{tag: "envoy.response_code", regex: `_rq(_(\d{3}))$`, needs: "_rq_"},
	{tag: "envoy.response_code_class", regex: `_rq_((\d))xx$`, needs: "_rq_"},
	{tag: "envoy.dynamo_partition_id", regex: `^http\.<VALUE>\.dynamodb\.table\.<VALUE>\.capacity\.<VALUE>(\.__partition_id=(\w{7}))$`, needs: ".dynamodb.table."},
	{tag: "envoy.dynamo_operation", regex: `^http\.<VALUE>\.dynamodb.(?:operation|table\.<VALUE>\.capacity)(\.(<VALUE>))(?:\.|$)`, needs: ".dynamodb."},
	{tag: "envoy.dynamo_table", regex: `^http\.<VALUE>\.dynamodb.(?:table|error)\.((<VALUE>)\.)`, needs: ".dynamodb."},
	{tag: "envoy.ssl_cipher", regex: `^listener\..*?\.ssl\.ciphers(\.(<CIPHER>))$`, needs: ".ssl.ciphers."},
	{tag: "envoy.ssl_curve", regex: `^<OWNER>\.ssl\.curves(\.(<CIPHER>))$`, needs: ".ssl.curves."},
	{tag: "envoy.ssl_sigalg", regex: `^<OWNER>\.ssl\.sigalgs(\.(<CIPHER>))$`, needs: ".ssl.sigalgs."},
	{tag: "envoy.ssl_version", regex: `^<OWNER>\.ssl\.versions(\.(TLSv\d\.\d))$`, needs: ".ssl.versions."},
	{tag: "cipher_suite", regex: `^cluster\.<VALUE>\.ssl\.ciphers(\.(<CIPHER>))$`, needs: ".ssl.ciphers."},
	{tag: "envoy.http_conn_manager_prefix", regex: `^listener\..*?\.http\.((<VALUE>)\.)`, needs: ".http."},
	{tag: "envoy.worker_id", regex: `^(?:listener\.(?:<ADDRESS>|<VALUE>)|server|listener_manager|thread_local_cluster_manager)\.worker_((\d+)\.)`, needs: ".worker_"},
	{tag: "envoy.listener_address", regex: `^listener\.((<ADDRESS>|<VALUE>)\.)`, not: "admin"},
	{tag: "envoy.rds_route_config", regex: `^http\.<VALUE>\.rds\.(([\w\-\./]+)\.)\w+?$`, needs: ".rds."},
	{tag: "envoy.scoped_rds_config", regex: `^http\.<VALUE>\.scoped_rds\.(([\w\-\.]+)\.)\w+?$`, needs: ".scoped_rds."},
	{tag: "envoy.rbac_policy_name", regex: `^http\.<VALUE>\.rbac\.(?:<VALUE>\.)?policy\.((<VALUE>)\.)(allowed|shadow_allowed|denied|shadow_denied)$`},
	{tag: "envoy.rbac_http_prefix", regex: `^http\.<VALUE>\.rbac\.((<VALUE>)\.).*?`, not: "policy"},
	{tag: "envoy.proxy_protocol_prefix", regex: `^proxy_proto\.((<VALUE>)\.).+$`, not: "versions"},
	{tag: "envoy.proxy_protocol_version", regex: `^proxy_proto\.((?:<VALUE>\.)?versions\.v(\d)\.)\w+$`},
	{tag: "envoy.tls_certificate", regex: `^<OWNER>\.ssl\.certificate\.((<VALUE>)\.).*$`, needs: ".ssl.certificate"},
	{tag: "envoy.xds_resource_name", regex: `^sds\.((<VALUE>)\.).+`},

	{tag: "envoy.mongo_callsite", pattern: "mongo.*.collection.*.callsite.$.query.**"},
	{tag: "envoy.mongo_collection", pattern: "mongo.*.collection.$.**.query.*"},
	{tag: "envoy.mongo_cmd", pattern: "mongo.*.cmd.$.**"},
	{tag: "envoy.grpc_bridge_method", pattern: "cluster.*.grpc.*.$.**"},
	{tag: "envoy.http_user_agent", pattern: "http.*.user_agent.$.**"},
	{tag: "envoy.virtual_cluster", pattern: "vhost.*.vcluster.$.**"},
	{tag: "envoy.fault_downstream_cluster", pattern: "http.*.fault.$.**"},
	{tag: "envoy.grpc_bridge_service", pattern: "cluster.*.grpc.$.**"},
	{tag: "envoy.tcp_prefix", pattern: "tcp.$.**"},
	{tag: "envoy.udp_prefix", pattern: "udp.$.**"},
	{tag: "envoy.clientssl_prefix", pattern: "auth.clientssl.$.**"},
	{tag: "envoy.ratelimit_prefix", pattern: "ratelimit.$.**"},
	{tag: "envoy.cluster_name", pattern: "cluster.$.**"},
	{tag: "envoy.ext_authz_prefix", pattern: "cluster.*.ext_authz.$.**"},
	{tag: "envoy.ext_authz_prefix", pattern: "http.*.ext_authz.$.**"},
	{tag: "envoy.http_conn_manager_prefix", pattern: "http.$.**"},
	{tag: "envoy.virtual_host", pattern: "vhost.$.**"},
	{tag: "envoy.mongo_prefix", pattern: "mongo.$.**"},
	{tag: "envoy.route", pattern: "vhost.*.route.$.**"},
	{tag: "envoy.thrift_prefix", pattern: "thrift.$.**"},
	{tag: "envoy.redis_prefix", pattern: "redis.$.**"},
	{tag: "envoy.local_http_ratelimit_prefix", pattern: "$.http_local_rate_limit.**"},
	{tag: "envoy.local_network_ratelimit_prefix", pattern: "local_rate_limit.$.**"},
	{tag: "envoy.local_listener_ratelimit_prefix", pattern: "listener_local_ratelimit.$.**"},
	{tag: "envoy.dns_filter_prefix", pattern: "dns_filter.$.**"},
	{tag: "envoy.connection_limit_prefix", pattern: "connection_limit.$.**"},
	{tag: "envoy.rbac_prefix", pattern: "$.rbac.**"},
	{tag: "envoy.google_grpc_client_prefix", pattern: "grpc.$.**"},
}
