"""After any mix of filters that fail, wait, cut and change, and of clients that leave at any time, nothing is left: no
stream, no connection, no buffer, no coroutine that waits."""

import random
import re
import socket
import struct
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from effort import tries
from integration.harness import Origin, Sidecar, ask, cluster, free_port, until

Start = Callable[..., Sidecar]
EXCHANGES = 600
CLIENTS = 12
SEED = 20_031
UNDER_WAY = re.compile(
    r"fastmesh_(streams|downstream_connections|filter_in_flight\{|cluster_requests_(active|pending)\{)")

FILTER = """
import random

from fastmesh import Filter, Response, sleep


class Odd(BaseException):
    pass


class Plain(Filter):
    whole: bool = False

    def odds(self, request):
        # What each phase does is drawn from the request, so that a run can be made again.
        found = request.state.get(self.name)
        if found is None:
            found = request.state[self.name] = random.Random(request.headers.get("x-seed", "") + self.name)
        return found

    def act(self, request, response=None):
        what = self.odds(request).randrange(24)
        if what == 0:
            raise ValueError("no")
        if what == 1:
            raise Odd
        if what == 2:
            return "no answer"
        if what == 3:
            return Response(418, text="short")
        if what == 4:
            request.labels["x"] = "y" * 100
        if what == 5 and response is not None:
            response.headers["x-more"] = "z" * 1000
        return None

    def on_request(self, request):
        return self.act(request)

    def on_response(self, request, response):
        return self.act(request, response)

    def on_complete(self, request, outcome):
        self.act(request)


class Waits(Plain):
    async def pause(self, request):
        what = self.odds(request).randrange(12)
        if what == 0:
            await sleep(60)         # longer than it may
        elif what < 4:
            await sleep(0.001 * what)
        elif what == 4:
            await self.mesh.get("app", "/x", timeout=1)
        elif what == 5:
            await self.mesh.get("nowhere", "/x", timeout=1)

    async def on_request(self, request):
        await self.pause(request)
        return self.act(request)

    async def on_response(self, request, response):
        await self.pause(request)
        return self.act(request, response)

    async def on_upstream_error(self, request, error):
        await self.pause(request)
        self.act(request)
        return self.odds(request).random() < 0.5

    async def on_complete(self, request, outcome):
        await self.pause(request)
        self.act(request)


class Streams(Waits):
    async def on_request_stream(self, request, chunks):
        async for chunk in chunks:
            await self.pause(request)
            self.act(request)
            if self.odds(request).randrange(8) == 0:
                return
            yield chunk * 2

    async def on_response_stream(self, request, response, chunks):
        async for chunk in chunks:
            await self.pause(request)
            self.act(request)
            yield chunk
            if self.odds(request).randrange(8) == 0:
                return


class Wholes(Plain):
    def on_request_body(self, request, body):
        self.act(request)
        return body[::-1]

    def on_response_body(self, request, response, body):
        self.act(request)
        return body * 3


class Elsewhere(Waits):
    isolated = True

    async def pause(self, request):
        import asyncio
        what = self.odds(request).randrange(12)
        if what == 0:
            await asyncio.sleep(60)
        elif what < 4:
            await asyncio.sleep(0.001 * what)
"""


def exchange(port: int, odds: random.Random) -> None:
    """One connection: some requests, of which some are cut, and an end of one kind or another."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
        client.settimeout(5)
        try:
            for _ in range(odds.choice((1, 1, 2, 3))):
                body = b"x" * odds.choice((0, 10, 5_000, 70_000))
                head = f"POST /sick HTTP/1.1\r\nhost: x\r\nx-seed: {odds.random()}\r\n".encode()
                if odds.random() < 0.5:
                    text = head + f"content-length: {len(body)}\r\n\r\n".encode() + body
                else:
                    text = head + b"transfer-encoding: chunked\r\n\r\n"
                    text += b"".join(f"{len(body[i:i + 4000]):x}\r\n".encode() + body[i:i + 4000] + b"\r\n"
                                     for i in range(0, len(body), 4000)) + b"0\r\n\r\n"
                if odds.random() < 0.15:
                    text = text[:odds.randrange(1, len(text))]
                client.sendall(text)
                if odds.random() < 0.7 and not client.recv(65536):
                    return
        except OSError:
            pass        # it was refused, or did not answer within its time: that may be
        if odds.random() < 0.4:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def left(proxy: Sidecar) -> dict[str, float]:
    """What is under way, by the proxy's own count."""
    return {name: value for name, value in proxy.metrics().items() if value and UNDER_WAY.match(name)}


def test_nothing_is_left(sidecar: Start, origin: Origin, tmp_path: Path, reactor: str) -> None:
    file = tmp_path / "odd.py"
    file.write_text(FILTER)
    port, well = free_port(), free_port()
    settings = {"timeout": "100ms", "quarantine": {"failures": 0}}
    proxy = sidecar({
        "listeners": [
            {"name": "sick", "address": f"127.0.0.1:{port}", "timeouts": {"body_idle": "300ms", "stream_idle": "1s"},
             "filters": [{"name": name.lower(), "use": f"{file}:{name}", **settings,
                          "on_error": policy} for name, policy in (
                              ("Plain", "open"), ("Waits", "closed"), ("Streams", "skip"), ("Elsewhere", "open"))],
             "routes": [{"match": {"prefix": "/"}, "clusters": {"app": 4, "nowhere": 1}, "filters": [
                 {"name": "wholes", "use": f"{file}:Wholes", "on_error": "open", "body_limit": "64KiB",
                  "quarantine": {"failures": 0}}]}]},
            {"name": "well", "address": f"127.0.0.1:{well}", "routes": [{"match": {"prefix": "/"}, "cluster": "app"}]}],
        "clusters": [cluster("app", origin.address), cluster("nowhere", f"127.0.0.1:{free_port()}")]})
    pid = proxy.worker_pids()
    with ThreadPoolExecutor(CLIENTS) as clients:
        for _ in clients.map(lambda i: exchange(port, random.Random(SEED + i)), range(tries(EXCHANGES))):
            pass
    until(lambda: left(proxy) == {}, f"nothing is under way: {left(proxy)}", 20)
    assert proxy.worker_pids() == pid and ask(well, "/").status == 200
    found = proxy.metrics()
    # Something of all that may go wrong has: else this has tried nothing.
    assert all(found[f'fastmesh_filter_errors_total{{filter="{name}",phase="request"}}'] > 3
               for name in ("plain", "waits", "streams", "elsewhere"))
    if reactor == "epoll":
        # One receives for all; io_uring has some in the kernel at all times.
        assert found["fastmesh_blocks"] <= 2, found["fastmesh_blocks"]
