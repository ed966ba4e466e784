"""nginx, one worker process."""

import os
import shutil
import signal
from collections.abc import Sequence
from pathlib import Path

from bench.peers.peer import PATIENCE_MS, Peer, Protocol, Service, ask_version
from bench.running import Running

STREAM_MODULE = Path("/usr/lib/nginx/modules/ngx_stream_module.so")

MAIN = """
{load_module}
daemon off;                                 # in the foreground, master and worker as in production
worker_processes {workers};                 # one worker, one core
worker_rlimit_nofile {descriptors};
pid {folder}/nginx.pid;
error_log stderr crit;
events {{
    worker_connections {descriptors};       # clients and upstream connections together
}}
"""

HTTP = """
http {{
    {access_log}
    tcp_nodelay on;                         # the default, as with the others
    keepalive_timeout 1h;                   # never close a client that waits
    keepalive_requests 1000000000;          # the default closes every 1,000 requests
    client_body_temp_path {folder};
    proxy_temp_path {folder};
    fastcgi_temp_path {folder};
    uwsgi_temp_path {folder};
    scgi_temp_path {folder};
    client_max_body_size 0;                 # the default refuses bodies above 1 MiB
    proxy_request_buffering off;            # uploads go on as they come; the default writes large ones to disk first
    proxy_max_temp_file_size 0;             # a slow client holds the origin back, nothing is written to disk
    {failing}
    {buffering}
    proxy_http_version 1.1;                 # 1.0 has no keep-alive
    proxy_set_header Host $host;
    # What a mesh adds to a request, and fastmesh does too.
    proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
    proxy_set_header X-Forwarded-Proto $scheme;
    proxy_set_header X-Request-Id $request_id;
    {connection}
    server_names_hash_max_size 8192;        # a thousand hosts without collisions
{upstreams}
{servers}
}}
"""
# A slow reader may hold an answer back for long.
PATIENT = "proxy_read_timeout 1h;"
# The default waits for a minute, and repeats what timed out or broke, but no answer with 503. An endpoint is left alone
# for ten seconds after one failure, which is the default.
FAILING = """proxy_read_timeout {patience_ms}ms;
    proxy_next_upstream error timeout http_503;"""
# Of Connection: the default asks the origin to close.
KEEP = 'proxy_set_header Connection "";'
UPGRADE = """map $http_upgrade $to_origin { default upgrade; "" ""; }
    proxy_set_header Connection $to_origin; # kept alive, or upgraded when the client asks for it
    proxy_set_header Upgrade $http_upgrade;"""
# The fields that Envoy and fastmesh write by default; collected and written once a second, as those two do.
LOG = """log_format mesh '[$time_iso8601] "$request" $status $request_length $body_bytes_sent $request_time '
        '$upstream_response_time "$proxy_add_x_forwarded_for" "$http_user_agent" "$request_id" "$host" '
        '"$upstream_addr"';
    access_log {folder}/access.log mesh buffer=64k flush=1s;"""

UPSTREAM = """
    upstream app-{number} {{
        {endpoints}
        keepalive {idle_upstream};          # the pool: without it every request connects
        keepalive_requests 1000000000;      # the default ends an upstream connection after 1,000
        keepalive_time 24h;                 # the default ends it after an hour
        keepalive_timeout 1h;
    }}"""

SERVER = """
    server {{
        listen 127.0.0.1:{port} {listen};
        server_name service-{number}.test;
        location / {{ proxy_pass http://app-{number}; }}
        {locations}
    }}"""

STREAM = """
stream {{
    upstream origin {{
        {endpoints}
    }}
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        proxy_pass origin;
        tcp_nodelay on;
        proxy_buffer_size 64k;              # nginx copies; the default of 16k costs it four times the calls
        proxy_timeout 1h;
    }}
}}
"""


class Nginx(Peer):
    name = "nginx"
    title = "nginx"
    bar = True
    reloads = True

    def missing(self, protocol: Protocol) -> str | None:
        if not shutil.which("nginx"):
            return "nginx is not installed (Debian: nginx-light)"
        if protocol == "tcp" and not STREAM_MODULE.exists():
            return "its stream module is not installed (Debian: libnginx-mod-stream)"
        return None

    def version(self) -> str:
        return ask_version(["nginx", "-v"], r"nginx/(\S+)")

    def command(self, service: Service, port: int, folder: Path) -> Sequence[str]:
        http = service.protocol == "http"
        # By default an endpoint that fails is left alone for ten seconds, and a GET is repeated on the next.
        endpoints = " ".join(f"server 127.0.0.1:{origin};" for origin in service.origins)
        main = MAIN.format(
            load_module="" if http else f"load_module {STREAM_MODULE};",
            workers=service.workers,
            descriptors=service.clients + service.idle_upstream,
            folder=folder,
        )
        body = _http(service, port, folder, endpoints) if http else STREAM.format(endpoints=endpoints, port=port)
        path = folder / "nginx.conf"
        path.write_text(main + body)
        return ["nginx", "-p", str(folder), "-e", "stderr", "-c", str(path)]

    def reload(self, service: Service, running: Running) -> None:
        self.command(service, running.port, running.folder)
        os.kill(running.pid, signal.SIGHUP)


def _http(service: Service, port: int, folder: Path, endpoints: str) -> str:
    # Exact prefixes: nginx looks them up in a tree.
    locations = [f"location /kind-{k}/ {{ proxy_pass http://app-0; }}" for k in range(service.routes - 1)]
    if service.generation:
        locations.append(f"location = /generation-{service.generation} {{ return 204; }}")
    clusters = range(service.clusters)
    return HTTP.format(
        access_log=LOG.format(folder=folder) if service.access_log else "access_log off;",
        # Buffering is the cheaper way to pass on what nobody waits for piece by piece.
        buffering="proxy_buffering off;" if service.streams else "proxy_buffers 8 64k; proxy_buffer_size 16k;",
        failing=FAILING.format(patience_ms=PATIENCE_MS) if service.failing else PATIENT,
        connection=UPGRADE if service.upgrades else KEEP,
        folder=folder,
        upstreams="".join(
            UPSTREAM.format(number=k, endpoints=endpoints, idle_upstream=service.idle_upstream) for k in clusters
        ),
        servers="".join(
            SERVER.format(
                number=k,
                port=port,
                listen="" if k else "backlog=4096 default_server",
                locations="\n        ".join(locations),
            )
            for k in clusters
        ),
    )
