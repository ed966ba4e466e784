"""Filters, load balancers and fallbacks that come with fastmesh, each written on nothing but the public API: take them
as they are, or as examples.

The configuration names them by the words on the left: `{use: cors, origins: [...]}`.
"""

NAMES = {
    "api-key": "fastmesh.filters.builtin.api_key:ApiKey",
    "basic-auth": "fastmesh.filters.builtin.basic_auth:BasicAuth",
    "body-limit": "fastmesh.filters.builtin.body_limit:BodyLimit",
    "canary": "fastmesh.filters.builtin.canary:Canary",
    "compress": "fastmesh.filters.builtin.compress:Compress",
    "connection-ip-list": "fastmesh.filters.builtin.ip_list:ConnectionIpList",
    "cors": "fastmesh.filters.builtin.cors:Cors",
    "header-rewrite": "fastmesh.filters.builtin.header_rewrite:HeaderRewrite",
    "ip-list": "fastmesh.filters.builtin.ip_list:IpList",
    "json-log": "fastmesh.filters.builtin.json_log:JsonLog",
    "jwt": "fastmesh.filters.builtin.jwt_check:JwtCheck",
    "redact": "fastmesh.filters.builtin.redact:Redact",
    "request-id": "fastmesh.filters.builtin.request_id:RequestId",
    "retry-safe": "fastmesh.filters.builtin.retry_safe:RetrySafe",
    "tenant-limit": "fastmesh.filters.builtin.tenant_limit:TenantLimit",
    "token-budget": "fastmesh.filters.builtin.token_budget:TokenBudget",
}
# Load balancers, which a cluster names: `load_balancer: {use: least-latency}`.
LOAD_BALANCERS = {
    "least-latency": "fastmesh.filters.builtin.least_latency:LeastLatency",
}
# Fallbacks, which a step names: `fallback: [{use: problem-details}]`.
FALLBACKS = {
    "problem-details": "fastmesh.filters.builtin.problem_details:ProblemDetails",
}
