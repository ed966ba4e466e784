"""The origin of small answers: nginx, one worker, `return 200` with 100 bytes.

It answers in about a third of what a proxy costs, but shares its core with wrk when the machine has two: proxies that
are cheap leave the other core partly idle then.  The report says how busy each proxy was.
"""

from pathlib import Path

from bench.running import Running, free_port

BODY = "x" * 99 + "\\n"
# What filters have set arrives here: the path answers with the headers x-mark-1 to x-mark-5 of the request.
MARKS = "/marks"
MARKS_MOST = 5

CONFIG = """
daemon off;
worker_processes 1;
worker_rlimit_nofile 12000;
pid {folder}/origin.pid;
error_log stderr crit;
events {{ worker_connections 12000; }}
http {{
    access_log off;
    server_tokens off;
    default_type text/plain;
    keepalive_requests 1000000000;
    keepalive_timeout 1h;
    client_body_temp_path {folder};
    proxy_temp_path {folder};
    fastcgi_temp_path {folder};
    uwsgi_temp_path {folder};
    scgi_temp_path {folder};
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        location = {marks} {{ return 200 "{seen}"; }}
        location / {{ {broken} return 200 "{body}"; }}
    }}
}}
"""


# While this file is in its folder, one that can break does not serve.
BROKEN = "broken"


def start(folder: Path, core: int) -> Running:
    return _start(folder, core, "")


def start_breakable(folder: Path, core: int) -> Running:
    """One more look at the disk for each request: whether it is broken."""
    return _start(folder, core, f"if (-f {folder / BROKEN}) {{ return 503; }}")


def break_down(origin: Running) -> None:
    """From now on it answers 503 to everything."""
    (origin.folder / BROKEN).touch()


def _start(folder: Path, core: int, broken: str) -> Running:
    port = free_port()
    path = folder / "origin.conf"
    seen = ",".join(f"$http_x_mark_{number}" for number in range(1, MARKS_MOST + 1))
    path.write_text(CONFIG.format(folder=folder, port=port, body=BODY, broken=broken, marks=MARKS, seen=seen))
    command = ["nginx", "-p", str(folder), "-e", "stderr", "-c", str(path)]
    origin = Running("origin", command, port, core, folder / "origin.log")
    origin.wait_ready(http=True)
    return origin
