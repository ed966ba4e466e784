"""nginx, one worker process."""

import shutil
from collections.abc import Sequence
from pathlib import Path

from bench.peers.peer import Peer, Protocol, Service, ask_version

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
    access_log off;
    tcp_nodelay on;                         # the default, as with the others
    keepalive_timeout 1h;                   # never close a client that waits
    keepalive_requests 1000000000;          # the default closes every 1,000 requests
    client_body_temp_path {folder};
    proxy_temp_path {folder};
    fastcgi_temp_path {folder};
    uwsgi_temp_path {folder};
    scgi_temp_path {folder};
    upstream origin {{
        server 127.0.0.1:{origin_port};
        keepalive {idle_upstream};          # the pool: without it every request connects
        keepalive_requests 1000000000;      # the default ends an upstream connection after 1,000
        keepalive_time 24h;                 # the default ends it after an hour
        keepalive_timeout 1h;
    }}
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        location / {{
            proxy_pass http://origin;
            proxy_http_version 1.1;         # 1.0 has no keep-alive
            proxy_set_header Connection ""; # the default asks the origin to close
            proxy_set_header Host $host;
            # What a mesh adds to a request, and fastmesh does too.
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
            proxy_set_header X-Forwarded-Proto $scheme;
            proxy_set_header X-Request-Id $request_id;
            proxy_max_temp_file_size 0;     # a slow client holds the origin back, nothing is written to disk
        }}
    }}
}}
"""

STREAM = """
stream {{
    upstream origin {{
        server 127.0.0.1:{origin_port};
    }}
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        proxy_pass origin;
        proxy_buffer_size 64k;              # nginx copies; the default of 16k costs it four times the calls
        proxy_timeout 1h;
    }}
}}
"""


class Nginx(Peer):
    name = "nginx"
    title = "nginx"
    bar = True

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
        text = (MAIN + (HTTP if http else STREAM)).format(
            load_module="" if http else f"load_module {STREAM_MODULE};",
            workers=service.workers,
            descriptors=service.clients + service.idle_upstream,
            folder=folder,
            origin_port=service.origin_port,
            idle_upstream=service.idle_upstream,
            port=port,
        )
        path = folder / "nginx.conf"
        path.write_text(text)
        return ["nginx", "-p", str(folder), "-e", "stderr", "-c", str(path)]
