"""A few requests, so that a proxy has done everything at least once before its memory is taken."""

import http.client


def ask(port: int, path: str = "/", connections: int = 4, requests: int = 50) -> None:
    for _ in range(connections):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        for _ in range(requests):
            connection.request("GET", path)
            if connection.getresponse().read() is None:
                raise ConnectionError("no answer")
        connection.close()
