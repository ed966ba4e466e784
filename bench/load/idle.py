"""Clients that made one request and then stay: `PORT COUNT`.  Prints a line of JSON once all are idle."""

import json
import socket
import sys


def main() -> None:
    port, count = int(sys.argv[1]), int(sys.argv[2])
    idle: list[socket.socket] = []
    failed = 0
    for _ in range(count):
        try:
            connection = socket.create_connection(("127.0.0.1", port), timeout=10)
            connection.sendall(b"GET / HTTP/1.1\r\nhost: bench\r\n\r\n")
            failed += not connection.recv(4096).startswith(b"HTTP/1.1 200")
            idle.append(connection)
        except OSError:
            failed += 1
    print(json.dumps({"open": len(idle), "failed": failed}), flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
