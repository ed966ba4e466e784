"""Questions to the admin API of a running proxy."""

import http.client
import socket

PATIENCE = 5.0              # seconds for it to answer
MOST = 16 << 20             # bytes of its answer


class Unreachable(Exception):
    """The admin API cannot be asked. The texts are for people."""

    def __init__(self, message: str, hint: str = "is the proxy running, and is this its admin.address?") -> None:
        super().__init__(message)
        self.hint = hint


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str, patience: float) -> None:
        super().__init__("localhost", timeout=patience)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def ask(address: str, path: str, method: str = "GET", patience: float = PATIENCE) -> tuple[int, bytes]:
    """Status and body of an answer; the address as `HOST:PORT`, `[IPv6]:PORT` or `unix:PATH`. Raises Unreachable."""
    if address.startswith("unix:"):
        line: http.client.HTTPConnection = _UnixConnection(address.removeprefix("unix:"), patience)
    else:
        host, _, port = address.removeprefix("http://").rstrip("/").rpartition(":")
        if not host or not port.isascii() or not port.isdigit():
            raise Unreachable(f"found the address {address!r}, allowed: HOST:PORT, [IPv6]:PORT or unix:PATH",
                              f"write 127.0.0.1:{address}." if address.isdigit() else f"write {host or address}:15000.")
        line = http.client.HTTPConnection(host.removeprefix("[").removesuffix("]"), int(port), timeout=patience)
    try:
        line.request(method, path)
        answer = line.getresponse()
        return answer.status, answer.read(MOST)
    except (OSError, OverflowError, http.client.HTTPException, ValueError) as error:
        what = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise Unreachable(f"{address} does not answer: {what}") from None
    finally:
        line.close()
