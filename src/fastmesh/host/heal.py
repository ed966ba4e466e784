"""The process that one event of a healing policy runs in: the policy is made, told, and the process is gone.

Control starts it with a line to itself and the policies, and kills it when it takes too long. It dies with control.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import sys

from fastmesh.filters.blob import unpack
from fastmesh.filters.healer import HealEvent, tell
from fastmesh.filters.protocol import TEXT_MOST
from fastmesh.host.main import CONTROL_FD, enter, live, trace_of
from fastmesh.worker.filters import Filters
from fastmesh.worker.packet import Message, send

POLICIES_FD = 5
FAILED = 1


def main(argv: list[str]) -> int:
    """`argv`: where the policies begin in their descriptor, their bytes, the place of the one that is meant, the event
    as JSON, pid of control."""
    at, size, place, event, control_pid = argv[:5]
    enter(int(control_pid), "fastmesh-heal", "fastmesh-heal", gives_way=True)
    told = unpack(os.pread(POLICIES_FD, int(size), int(at)))
    os.close(POLICIES_FD)
    spec = told["policies"][int(place)]
    control = socket.socket(fileno=CONTROL_FD)

    def say(message: Message) -> None:
        with contextlib.suppress(OSError, ValueError):
            send(control, message)

    async def work() -> int:
        try:
            sys.path.extend(path for path in told["paths"] if path not in sys.path)
            policy = Filters(say).new(spec, told["files"].get(spec["fingerprint"], ""))
            policy.start()
            await tell(policy, HealEvent(**json.loads(event)))
        except asyncio.CancelledError as cancelled:     # nobody but itself cancels it
            say({"op": "failed", "text": trace_of(cancelled)[-TEXT_MOST:]})
            return FAILED
        except BaseException as error:      # also SystemExit, and whatever else a module may raise
            say({"op": "failed", "text": trace_of(error)[-TEXT_MOST:]})
            return FAILED
        return 0

    live(work)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
