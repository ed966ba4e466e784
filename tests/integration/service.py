"""Origins that say by name who has answered."""

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

Reply = tuple[int, dict[str, str]]


class Service:
    """A small origin that answers with its name. `reply` says status and fields."""

    def __init__(self, name: str, reply: Callable[[BaseHTTPRequestHandler], Reply] = lambda _: (200, {})) -> None:
        self.name = name
        self.reply = reply
        self.requests = 0
        self.connections: list[socket.socket] = []
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

            def setup(self) -> None:
                super().setup()
                service.connections.append(self.connection)

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
        for connection in self.connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


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
