"""One worker in a process of its own, which does what a test tells it over a socket.

    python -S serve.py ENGINE SOCKET MEMORY DIRECTORY...    the numbers of two descriptors, and where modules are

Packets as between control and worker, and a few more: `live` asks what the worker holds, `limit` and `hold` take
descriptors away from it, `release` gives them back.
"""

import os
import resource
import sys

sys.path[:0] = sys.argv[4:]

from _socket import socket  # noqa: E402

from fastmesh._core.worker import SnapshotRefused, Worker  # noqa: E402
from fastmesh.worker.packet import receive, send  # noqa: E402

DRAINED = 2


def main() -> None:
    engine, control_fd, stats_fd = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    control = socket(fileno=control_fd)
    control.setblocking(False)
    worker = Worker(engine, stats_fd, control_fd, 0)
    held: list[int] = []
    send(control, {"op": "hello", "engine": worker.engine, "live": worker.live()})
    while True:
        if worker.run(-1) == DRAINED:
            send(control, {"op": "drained", "live": worker.live()})
            worker.close()
            return
        try:
            packet = receive(control)
        except BlockingIOError:
            continue  # woken for a packet that was taken before
        if packet is None:
            worker.close()
            return
        message, fds = packet
        op, reply = message["op"], {"op": "done"}
        if op == "listen":
            for number, fd in zip(message["ids"], fds, strict=True):
                worker.add_listener(number, fd)
        elif op == "snapshot":
            try:
                worker.apply(os.pread(fds[0], message["size"], 0))
            except SnapshotRefused as refused:
                reply = {"op": "refused", "why": str(refused)}
            os.close(fds[0])
        elif op == "drain":
            worker.drain(message["grace_ms"], message["idle_ms"])
        elif op == "limit":
            resource.setrlimit(
                resource.RLIMIT_NOFILE, (message["files"], resource.getrlimit(resource.RLIMIT_NOFILE)[1])
            )
        elif op == "hold":
            while len(held) < message["most"]:
                try:
                    held.append(os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC))
                except OSError:
                    break
            for _ in range(message.get("but", 0)):
                os.close(held.pop())
            reply["held"] = len(held)
        elif op == "release":
            while held:
                os.close(held.pop())
        reply["live"] = worker.live()
        send(control, reply)


main()
