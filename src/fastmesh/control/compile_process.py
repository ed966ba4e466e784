"""The compile process: a copy of control that compiles one file, or puts other endpoints into a snapshot, answers, and
is gone.

Control rehearses once, as it starts: importing pydantic and the YAML parser and building the validators takes thirty
times as long as a small configuration does afterwards. Each copy has it for nothing. What control only stores is
packed once more in the answer, so that control never unpacks a hundred thousand endpoints to keep them.
"""

import gc
import json
import os
import resource
import signal
from typing import Any

import msgpack

from fastmesh.control.priority import yield_to_traffic
from fastmesh.control.stand_in import left_out
from fastmesh.worker.title import name_process

# pydantic imports both, to compare secrets and to look for plugins: with OpenSSL, zipfile and email that is 5 MB.
UNUSED = ("secrets", "importlib.metadata")

with left_out(*UNUSED):
    from fastmesh.errors import OutOfTime
    from fastmesh.snapshot.process import TIME_LIMIT, answer, refused
    from fastmesh.snapshot.registry import pack_reserve, unpack_reserve
    from fastmesh.snapshot.revise import numbers_of, revise

CONTROL_FD = 3
SNAPSHOT_FD = 4                 # the live one, for a compile or a revision of it
HEADER = 8                      # bytes of an answer's length, little endian
MEMORY_LIMIT = 4 << 30          # of address space beyond control's own; 100,000 endpoints take a twentieth
CPU_LIMIT = TIME_LIMIT + 10     # seconds; the kernel's own end, when nobody is left to send SIGKILL

# Something of each section, for modules and patterns that are made on first use.
REHEARSED = b"""\
node: {service: rehearsal}
admin: {address: "127.0.0.1:1"}
access_log: {path: /dev/null}
listeners:
  - name: web
    address: "127.0.0.1:2"
    limits: {head: 60KiB}
    timeouts: {header: 1s}
    trusted_clients: [10.0.0.0/8]
    routes:
      - {match: {path: /healthz, hosts: [example.com], methods: [GET], headers: {a: b}}, response: {status: 200}}
      - {match: {prefix: /}, cluster: app}
clusters:
  - {name: app, endpoints: ["127.0.0.1:3", {address: "127.0.0.1:4", weight: 2}], avoid: {base: 1s}}
"""


def rehearse() -> None:
    """Compile a small configuration. Raises RuntimeError when that fails: then no other could be compiled either."""
    fd = os.memfd_create("fastmesh-rehearsal", os.MFD_CLOEXEC)
    try:
        os.write(fd, REHEARSED)
        with left_out(*UNUSED):
            result = answer({"file": f"/proc/self/fd/{fd}", "version": 0, "env": {}})
    finally:
        os.close(fd)
    if not result["ok"]:
        raise RuntimeError(f"the configuration of the rehearsal is refused:\n{result['text']}")
    # What the collector never visits again stays in pages that control and a copy share.
    gc.collect()
    gc.freeze()


def compile_once(request: dict[str, Any]) -> None:
    """Compile or revise what is asked for and write the answer to the socket."""
    name_process("fastmesh-check")
    yield_to_traffic()
    address_space = _address_space() + MEMORY_LIMIT
    resource.setrlimit(resource.RLIMIT_AS, (address_space, address_space))
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_LIMIT, CPU_LIMIT))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    gc.disable()                # the exit frees everything
    packed = msgpack.packb(_answer(request))
    view = memoryview(len(packed).to_bytes(HEADER, "little") + packed)
    while view:
        view = view[os.write(CONTROL_FD, view):]


def _answer(request: dict[str, Any]) -> dict[str, Any]:
    signal.signal(signal.SIGALRM, _out_of_time)
    signal.alarm(TIME_LIMIT)
    try:
        if "sets" in request:
            return revise(request)
        if request.get("registry"):
            request = {**request, "registry": _registry(request)}
        result = answer(request)
        if result["ok"]:
            # What endpoints have is in the snapshot.
            rows = result["registry"].pop("endpoints")
            result["reserve"] = pack_reserve(rows["gone"]), rows["next"]
            # Those that policies find are read from the snapshot, which they change in.
            found = {one["cluster"] for one in result["discoveries"]}
            result["clusters"] = [{**cluster, "endpoints": []} if cluster["name"] in found else cluster
                                  for cluster in result["clusters"]]
            for name in ("registry", "clusters"):
                result[name] = msgpack.packb(result[name])
            result["config"] = json.dumps(result["config"], ensure_ascii=False).encode()
    except OutOfTime as late:
        result = refused(f"the configuration took longer than {TIME_LIMIT} s to check{late}",
                         str(request.get("file", "")))
    except Exception as error:      # a bug must reach the operator as a sentence
        result = refused(f"internal error while compiling: {type(error).__name__}: {error}",
                         str(request.get("file", "")))
    finally:
        signal.alarm(0)
    return result


def _registry(request: dict[str, Any]) -> dict[str, Any]:
    """As the compile before had it: of endpoints control keeps only those that have gone."""
    registry: dict[str, Any] = msgpack.unpackb(request["registry"], strict_map_key=False)
    fd, size = request["former"]
    gone, next_row = request["reserve"]
    registry["endpoints"] = {"live": numbers_of(os.pread(fd, size, 0)), "gone": unpack_reserve(gone), "next": next_row}
    return registry


def _address_space() -> int:
    with open("/proc/self/statm") as file:      # noqa: PTH123
        return int(file.read().split()[0]) * resource.getpagesize()


def _out_of_time(number: int, frame: object) -> None:
    raise OutOfTime
