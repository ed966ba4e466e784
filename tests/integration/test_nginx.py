"""nginx as the origin: a server that nobody here has written."""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from integration.mesh import Mesh, until
from integration.peer import Peer, connect, pattern

# Debian puts it where the PATH of a user who is not root does not lead.
NGINX = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/local/sbin:/usr/sbin") or "nginx"
CONF = """daemon off; master_process off; worker_processes 1; pid {dir}/pid; error_log {dir}/error.log;
events {{ worker_connections 256; }}
http {{
  access_log off; client_body_temp_path {dir}/body; proxy_temp_path {dir}/proxy; fastcgi_temp_path {dir}/f;
  uwsgi_temp_path {dir}/u; scgi_temp_path {dir}/s; default_type text/plain; client_max_body_size 1m;
  keepalive_requests {requests}; gzip on; gzip_min_length 1; gzip_types text/plain;
  server {{
    listen unix:{dir}/nginx.sock; root {dir}/www;
    location = /who {{ return 200 "$request_method $request_uri $http_x_forwarded_for"; }}
    location = /none {{ return 204; }}
  }}
}}
"""


@pytest.fixture
def nginx(tmp_path: Path) -> Iterator[Callable[..., str]]:
    started: list[subprocess.Popen[bytes]] = []

    def start(requests: int = 1000) -> str:
        (tmp_path / "www").mkdir()
        (tmp_path / "www" / "big").write_bytes(pattern(3 << 20))
        (tmp_path / "www" / "text.txt").write_text("word " * 1000)
        conf = tmp_path / "nginx.conf"
        conf.write_text(CONF.format(dir=tmp_path, requests=requests))
        started.append(subprocess.Popen([NGINX, "-c", conf, "-p", tmp_path, "-e", tmp_path / "error.log"]))
        path = tmp_path / "nginx.sock"

        def answers() -> bool:
            try:
                connect(str(path)).close()
            except OSError:
                return False
            return True

        until(answers, "nginx listens")
        return f"unix:{path}"

    yield start
    for process in started:
        process.terminate()
        process.wait(10)


def test_answers_of_every_form(mesh: Mesh, nginx: Callable[..., str]) -> None:
    mesh.http(nginx())
    client = mesh.connect()
    assert client.ask("/who?a=b").text == "GET /who?a=b 127.0.0.1"
    assert client.ask("/big").body == pattern(3 << 20)
    assert client.ask("/big", "HEAD").get("content-length") == str(3 << 20)
    assert client.ask("/none").status == 204
    part = client.ask("/big", "GET", "range: bytes=100-199")
    assert (part.status, part.body) == (206, pattern(3 << 20)[100:200])
    tag = client.ask("/big", "HEAD").get("etag")
    assert client.ask("/big", "GET", f"if-none-match: {tag}").status == 304
    zipped = client.ask("/text.txt", "GET", "accept-encoding: gzip")
    assert (zipped.get("transfer-encoding"), zipped.get("content-encoding")) == ("chunked", "gzip")
    assert client.ask("/missing").status == 404
    assert mesh.cluster()["connections_opened"] == 1


def test_connections_that_nginx_closes_are_not_noticed(mesh: Mesh, nginx: Callable[..., str]) -> None:
    mesh.http(nginx(requests=3))
    client = mesh.connect()
    for n in range(50):
        assert client.ask(f"/who?{n}").text == f"GET /who?{n} 127.0.0.1"


def test_a_body_that_nginx_refuses(mesh: Mesh, nginx: Callable[..., str]) -> None:
    mesh.http(nginx())
    client: Peer = mesh.connect().send("POST /big HTTP/1.1\r\nhost: x\r\ncontent-length: 2000000\r\n\r\n")
    assert client.read_answer().status == 413
