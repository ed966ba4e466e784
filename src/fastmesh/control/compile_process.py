"""The compile process: it holds pydantic and the YAML parser, so that control does not have to.

It answers requests on a stream socket, one after the other, until control closes it: a second compile finds
everything imported and takes milliseconds instead of a quarter of a second. What control only stores comes back
packed, so that control never unpacks a hundred thousand endpoints to keep them.
"""

import gc
import json
import os
import resource
import signal
from pathlib import Path
from typing import Any

import msgpack

from fastmesh.snapshot.process import TIME_LIMIT, OutOfTime, answer, refused
from fastmesh.worker.title import name_process

CONTROL_FD = 3
HEADER = 8                      # bytes of a frame's length, little endian
MEMORY_LIMIT = 4 << 30          # of address space, beyond that of an empty process; 100,000 endpoints take a twentieth

# Compiled once while nobody waits: the first validation builds pydantic's validators and loads lazy modules.
_REHEARSAL = b"""\
listeners:
  - {name: web, address: "127.0.0.1:1", routes: [{match: {prefix: /}, cluster: app}]}
clusters:
  - {name: app, endpoints: ["127.0.0.1:2"]}
"""


def main(argv: list[str]) -> int:
    """Serve until control closes the socket."""
    name_process("fastmesh-check")
    signal.signal(signal.SIGINT, signal.SIG_IGN)        # Ctrl-C is control's to answer
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    most = _address_space() + MEMORY_LIMIT      # a sanitizer has reserved terabytes already
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    gc.disable()                    # collected between requests, when nobody waits
    while (request := _read()) is not None:
        _write(_answer(request))
        gc.collect()
    return 0


def _address_space() -> int:
    return int(Path("/proc/self/statm").read_text("ascii").split()[0]) * resource.getpagesize()


def rehearse() -> None:
    """Compile a small configuration for the sake of everything that happens only once."""
    fd = os.memfd_create("rehearsal", os.MFD_CLOEXEC)
    os.write(fd, _REHEARSAL)
    _answer({"file": f"/proc/self/fd/{fd}", "version": 0})
    os.close(fd)
    gc.collect()
    gc.freeze()


def _answer(request: dict[str, Any]) -> dict[str, Any]:
    signal.signal(signal.SIGALRM, _out_of_time)
    signal.alarm(TIME_LIMIT)
    try:
        if request.get("rehearse"):
            rehearse()
            return {"ok": True}
        if registry := request.get("registry"):
            request["registry"] = msgpack.unpackb(registry, strict_map_key=False)
        result = answer(request)
        if result["ok"]:
            for name in ("registry", "clusters"):
                result[name] = msgpack.packb(result[name])
            result["config"] = json.dumps(result["config"], ensure_ascii=False).encode()
    except OutOfTime:
        result = refused(f"the configuration took longer than {TIME_LIMIT} s to check", str(request.get("file", "")))
    except Exception as error:      # a bug must reach the operator as a sentence
        result = refused(f"internal error while compiling: {type(error).__name__}: {error}",
                         str(request.get("file", "")))
    finally:
        signal.alarm(0)
    return result


def _read() -> dict[str, Any] | None:
    header = _read_exactly(HEADER)
    if header is None:
        return None
    packed = _read_exactly(int.from_bytes(header, "little"))
    if packed is None:
        return None
    request: dict[str, Any] = msgpack.unpackb(packed)
    return request


def _read_exactly(count: int) -> bytes | None:
    pieces = b""
    while len(pieces) < count:
        piece = os.read(CONTROL_FD, min(count - len(pieces), 1 << 20))
        if not piece:
            return None
        pieces += piece
    return pieces


def _write(result: dict[str, Any]) -> None:
    packed = msgpack.packb(result)
    view = memoryview(len(packed).to_bytes(HEADER, "little") + packed)
    while view:
        view = view[os.write(CONTROL_FD, view):]


def _out_of_time(number: int, frame: object) -> None:
    raise OutOfTime
