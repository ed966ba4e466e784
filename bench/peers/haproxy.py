"""HAProxy, one thread."""

import os
import shutil
import signal
from collections.abc import Sequence
from pathlib import Path

from bench.peers.peer import PATIENCE_MS, Peer, Protocol, Service, Work, ask_version
from bench.running import ROOT, Running

LUA = ROOT / "bench" / "filters" / "haproxy.lua"

GLOBAL = """
global
    nbthread {workers}                      # one thread, one core
    maxconn {clients}
    no strict-limits                        # start even when twice maxconn exceeds the descriptor limit
    {log}
    {lua}
defaults
    timeout connect 1s
    timeout client 1h                       # never close a client that waits
    timeout server 1h
    timeout tunnel 1h
    timeout http-keep-alive 1h
    timeout http-request 1h
    backlog 4096
    option splice-auto                      # large bodies stay in the kernel when that pays
"""

HTTP = """
    mode http
    option http-keep-alive                  # the default, said aloud
    http-reuse always                       # share idle upstream connections among all clients, also for first requests
    option forwardfor                       # X-Forwarded-For, as the others add it
    option redispatch 1                     # an endpoint that fails: the next attempt goes to another
    {failing}
    {log_format}
    {streams}
frontend web
    bind 127.0.0.1:{port}
    unique-id-format %[uuid()]
    unique-id-header X-Request-Id
    http-request set-header X-Forwarded-Proto http
    {generation}
    {filters}
    {choice}
    default_backend app-0
"""
# As nginx and fastmesh do; the default repeats only failed connects.
PATIENT = "retry-on conn-failure empty-response"
# No answer in time and answers with 503 are repeated too, three times, which is the default.
FAILING = """retry-on conn-failure empty-response response-timeout 503
    timeout server {patience_ms}ms"""
# The fields that Envoy and fastmesh write by default. HAProxy logs to syslog or to an open descriptor, each line by
# itself: a file is the cheaper of the two.
LOG_FORMAT = (
    'log global\n    log-format "[%tr] \\"%HM %HP %HV\\" %ST %U %B %Ta %Tr \\"%ci\\" \\"%ID\\" \\"%b\\" \\"%si:%sp\\""'
)

BACKEND = """
backend app-{number}
    # No limit on idle upstream connections, none closed before an hour.
    default-server pool-max-conn -1 pool-purge-delay 1h {check}
{servers}
"""

TCP = """
    mode tcp
listen tcp
    bind 127.0.0.1:{port}
{servers}
"""


class Haproxy(Peer):
    name = "haproxy"
    title = "HAProxy"
    bar = True
    reloads = True
    works = frozenset[Work](("mark", "answer"))

    def missing(self, protocol: Protocol) -> str | None:
        return None if shutil.which("haproxy") else "haproxy is not installed (Debian: haproxy)"

    def version(self) -> str:
        return ask_version(["haproxy", "-v"], r"version (\d+\.\d+\.\d+)")

    def command(self, service: Service, port: int, folder: Path) -> Sequence[str]:
        servers = "\n".join(f"    server origin-{k} 127.0.0.1:{origin}" for k, origin in enumerate(service.origins))
        main = GLOBAL.format(
            workers=service.workers,
            clients=service.clients,
            log="log stdout format raw local0" if service.access_log else "",
            # One interpreter, with nothing to lock.
            lua=f"lua-load-per-thread {LUA}" if service.filters else "",
        )
        http = service.protocol == "http"
        body = _http(service, port, folder, servers) if http else TCP.format(port=port, servers=servers)
        path = folder / "haproxy.cfg"
        path.write_text(main + body)
        # A reload needs the master process; without it there is none.
        return ["haproxy", *(["-W"] if service.generation else []), "-db", "-f", str(path)]

    def reload(self, service: Service, running: Running) -> None:
        self.command(service, running.port, running.folder)
        os.kill(running.pid, signal.SIGUSR2)

    def log_path(self, folder: Path) -> Path:
        return folder / "log"  # its standard output


def _http(service: Service, port: int, folder: Path, servers: str) -> str:
    choice = ""
    if service.clusters > 1:
        table = folder / "hosts.map"
        table.write_text("".join(f"service-{k}.test app-{k}\n" for k in range(service.clusters)))
        choice = f"use_backend %[req.hdr(host),map_str({table},app-0)]"  # a tree, not a list of conditions
    elif service.routes > 1:
        table = folder / "paths.map"
        table.write_text("".join(f"/kind-{k}/ app-0\n" for k in range(service.routes - 1)))
        choice = f"use_backend %[path,map_beg({table},app-0)]"
    generation = (
        f"http-request return status 204 if {{ path /generation-{service.generation} }}" if service.generation else ""
    )
    # Without it chunks wait for more to go out with, over loopback for a fifth of a second.
    streams = "option http-no-delay" if service.streams or service.chunks else ""
    head = HTTP.format(
        streams=streams,
        port=port,
        choice=choice,
        generation=generation,
        failing=FAILING.format(patience_ms=PATIENCE_MS) if service.failing else PATIENT,
        filters="\n    ".join(
            f"http-request lua.mark {header}" if work == "mark" else f"http-response lua.{work}"
            for work, header in zip(service.filters, service.marks(), strict=True)
        ),
        log_format=LOG_FORMAT if service.access_log else "",
    )
    # Left alone after three failures, found again by a check each second: without one HAProxy asks a dead one forever.
    # Layer 7 counts answers with 500 and above, and those that do not come in time; layer 4 failed connects only.
    layer = "layer7" if service.failing else "layer4"
    check = f"check inter 1s observe {layer} error-limit 3 on-error mark-down" if len(service.origins) > 1 else ""
    return head + "".join(BACKEND.format(number=k, check=check, servers=servers) for k in range(service.clusters))
