"""A worker that does what the snapshot says: for tests of what control does about it.

A snapshot here is JSON: {"refuse": [slots], "die": [slots], "hang": [slots]}. What stands behind it for filters
is told back as an event. The process accepts no connections.
"""

import json
import os
import sys
from _socket import socket

from fastmesh.worker.packet import receive, send


def main(argv: list[str]) -> int:
    slot = int(argv[0])
    control = socket(fileno=3)
    control.setblocking(True)
    send(control, {"op": "hello", "pid": os.getpid(), "engine": "fake"})
    held: list[int] = []
    while (packet := receive(control)) is not None:
        message, fds = packet
        if message["op"] == "listen":
            held += message["ids"]
        elif message["op"] == "snapshot":
            wish = json.loads(os.pread(fds[0], message["size"], 0))
            if message["filters"]:
                told = os.pread(fds[0], message["filters"], message["size"]).decode()
                send(control, {"op": "event", "what": "filter_log", "filter": "f", "text": told})
            if slot in wish.get("die", ()):
                os._exit(7)
            if slot in wish.get("hang", ()):
                continue
            if slot in wish.get("refuse", ()):
                send(control, {"op": "nack", "version": message["version"], "why": f"slot {slot} does not like it"})
            elif missing := set(wish.get("listeners", ())) - set(held):
                send(control, {"op": "nack", "version": message["version"], "why": f"no socket for {missing}"})
            else:
                send(control, {"op": "ack", "version": message["version"], "ms": 0.1})
        elif message["op"] == "drain":
            send(control, {"op": "drained", "open": 0})
            return 0
        elif message["op"] == "stop":
            return 0
        for fd in fds:
            os.close(fd)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
