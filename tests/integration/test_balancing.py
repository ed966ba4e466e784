"""Which endpoint a request goes to, with real answers and real connections."""

import contextlib
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from integration.mesh import Mesh

Reply = tuple[int, dict[str, str]]


class Service:
    """A small origin that answers with its name. `reply` says status and fields."""

    def __init__(self, name: str, reply: Callable[[BaseHTTPRequestHandler], Reply] = lambda _: (200, {})) -> None:
        self.name = name
        self.reply = reply
        self.requests = 0
        service = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = 65536

            def do_GET(self) -> None:
                service.requests += 1
                status, fields = service.reply(self)
                body = service.name.encode()
                self.send_response(status)
                for field, value in {**fields, "content-length": str(len(body))}.items():
                    self.send_header(field, value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                pass

            def handle(self) -> None:
                with contextlib.suppress(ConnectionError):
                    super().handle()

        class Server(ThreadingHTTPServer):
            request_queue_size = 128

        self._server = Server(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.address = f"127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def services() -> Iterator[Callable[..., list[Service]]]:
    """Makes services with the names given."""
    made: list[Service] = []

    def make(*names: str) -> list[Service]:
        made.extend(Service(name) for name in names)
        return made[-len(names):]

    yield make
    for service in made:
        service.close()


def shares(mesh: Mesh, count: int, *fields: str, path: str = "/") -> dict[str, int]:
    """How often each service answered, one request after the other."""
    client = mesh.connect()
    counts: dict[str, int] = {}
    for _ in range(count):
        name = client.ask(path, "GET", *fields).text
        counts[name] = counts.get(name, 0) + 1
    return counts


def use(mesh: Mesh, *services: Service | dict[str, Any], **cluster: Any) -> None:
    endpoints = [{"address": s.address} if isinstance(s, Service) else s for s in services]
    mesh.configure({
        "listeners": [{"name": "web", "routes": [{"match": {"prefix": "/"}, "cluster": "app"}]}],
        "clusters": [{"name": "app", "endpoints": endpoints, **cluster}]})


# --- peak_ewma, failure_aware_ewma ---

@pytest.mark.parametrize("balancer", ["peak_ewma", "failure_aware_ewma"])
def test_a_slow_service_is_left_alone(mesh: Mesh, services: Callable[..., list[Service]], balancer: str) -> None:
    quick, slow, other = services("quick", "slow", "other")
    hold = threading.Event()

    def slowly(_: BaseHTTPRequestHandler) -> Reply:
        hold.wait(0.2)
        return 200, {}
    slow.reply = slowly
    use(mesh, quick, slow, other, load_balancer=balancer)
    counts = shares(mesh, 60)
    # Measured once, as nobody knew it.
    assert counts["slow"] == 1
    assert quick.requests + other.requests == 59


@pytest.mark.parametrize(("balancer", "most"), [("failure_aware_ewma", 1), ("round_robin", 20)])
@pytest.mark.parametrize("status", [429, 500, 503])
def test_one_that_fails_at_once_is_left_alone(mesh: Mesh, services: Callable[..., list[Service]], balancer: str,
                                              most: int, status: int) -> None:
    good, bad, other = services("good", "bad", "other")
    bad.reply = lambda _: (status, {})
    use(mesh, good, bad, other, load_balancer=balancer)
    assert shares(mesh, 60)["bad"] == most


def test_retry_after_says_for_how_long(mesh: Mesh, services: Callable[..., list[Service]]) -> None:
    """A penalty of nothing and a wait of a minute: only the one that asked for it is spared."""
    asks, says_nothing, good = services("asks", "says_nothing", "good")
    asks.reply = lambda _: (503, {"retry-after": "60"})
    says_nothing.reply = lambda _: (503, {})

    def take_a_while(_: BaseHTTPRequestHandler) -> Reply:
        threading.Event().wait(0.02)
        return 200, {}
    good.reply = take_a_while
    use(mesh, asks, says_nothing, good, load_balancer="failure_aware_ewma", balancing={"ewma": {"penalty": "0"}})
    counts = shares(mesh, 40)
    assert counts["asks"] == 1
    assert counts["says_nothing"] > 30


@pytest.mark.parametrize("balancer", ["peak_ewma", "failure_aware_ewma"])
def test_one_that_never_answers_is_left_alone(mesh: Mesh, services: Callable[..., list[Service]],
                                              balancer: str) -> None:
    dead, one, two = services("dead", "one", "two")
    hold = threading.Event()

    def never(_: BaseHTTPRequestHandler) -> Reply:
        hold.wait(10)
        return 200, {}
    dead.reply = never
    mesh.configure({
        "listeners": [{"name": "web", "timeouts": {"request": "300ms"},
                       "routes": [{"match": {"prefix": "/"}, "cluster": "app"}]}],
        "clusters": [{"name": "app", "load_balancer": balancer,
                      "endpoints": [s.address for s in (dead, one, two)]}]})
    client = mesh.connect()
    statuses = [client.ask("/").status for _ in range(40)]
    hold.set()
    assert statuses.count(504) == 1 and statuses.count(200) == 39
