"""HAProxy, one thread."""

import shutil
from collections.abc import Sequence
from pathlib import Path

from bench.peers.peer import Peer, Protocol, Service, ask_version

GLOBAL = """
global
    nbthread {workers}                      # one thread, one core
    maxconn {clients}
    no strict-limits                        # start even when twice maxconn exceeds the descriptor limit
defaults
    timeout connect 1s
    timeout client 1h                       # never close a client that waits
    timeout server 1h
    timeout http-keep-alive 1h
    timeout http-request 1h
    backlog 4096
"""

HTTP = """
    mode http
    option http-keep-alive                  # the default, said aloud
    http-reuse always                       # share idle upstream connections among all clients, also for first requests
    option forwardfor                       # X-Forwarded-For, as the others add it
listen web
    bind 127.0.0.1:{port}
    unique-id-format %[uuid()]
    unique-id-header X-Request-Id
    http-request set-header X-Forwarded-Proto http
    # No limit on idle upstream connections, none closed before an hour.
    server origin 127.0.0.1:{origin_port} pool-max-conn -1 pool-purge-delay 1h
"""

TCP = """
    mode tcp
    option splice-auto                      # bytes stay in the kernel when that pays
listen tcp
    bind 127.0.0.1:{port}
    server origin 127.0.0.1:{origin_port}
"""


class Haproxy(Peer):
    name = "haproxy"
    title = "HAProxy"
    bar = True

    def missing(self, protocol: Protocol) -> str | None:
        return None if shutil.which("haproxy") else "haproxy is not installed (Debian: haproxy)"

    def version(self) -> str:
        return ask_version(["haproxy", "-v"], r"version (\d+\.\d+\.\d+)")

    def command(self, service: Service, port: int, folder: Path) -> Sequence[str]:
        text = (GLOBAL + (HTTP if service.protocol == "http" else TCP)).format(
            workers=service.workers, clients=service.clients, port=port, origin_port=service.origin_port
        )
        path = folder / "haproxy.cfg"
        path.write_text(text)
        return ["haproxy", "-db", "-f", str(path)]
