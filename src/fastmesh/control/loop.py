"""uvloop, without the 4 MB of TLS that it imports.

Both asyncio and uvloop import `ssl` for their TLS transports. The control process of today has no TLS
connection, so while uvloop is imported a stand-in takes the name: every use of it fails loudly. Afterwards
`import ssl` gives the real module to whoever needs it for itself, but not to the loop's own `ssl=` arguments.
A part of control that wants those must import `ssl` before this module. See docs/decisions/.
"""

import sys
from types import ModuleType


def _stand_in() -> ModuleType:
    module = ModuleType("ssl")

    def unavailable(*args: object, **kwargs: object) -> None:
        raise RuntimeError("the control process was started without TLS, see fastmesh.control.loop")

    for name in ("SSLContext", "MemoryBIO", "SSLObject", "SSLSocket"):
        setattr(module, name, type(name, (), {"__init__": unavailable}))
    for name in ("SSLError", "SSLWantReadError", "SSLWantWriteError", "SSLSyscallError", "SSLZeroReturnError",
                 "CertificateError"):
        setattr(module, name, type(name, (OSError,), {}))
    for number, name in enumerate(("SSL_ERROR_WANT_READ", "SSL_ERROR_WANT_WRITE", "SSL_ERROR_SYSCALL")):
        setattr(module, name, number + 2)
    module.create_default_context = unavailable     # type: ignore[attr-defined]
    return module


if "ssl" not in sys.modules:
    sys.modules["ssl"] = _stand_in()
    import uvloop

    del sys.modules["ssl"]
else:
    import uvloop

import asyncio  # noqa: E402

from fastmesh.control.supervisor import Supervisor  # noqa: E402
from fastmesh.observe.journal import Journal  # noqa: E402


def run(config_path: str, version: str, journal: Journal, is_watching: bool = False) -> int:
    """Run the control process to its end. Returns the exit status."""
    async def begin() -> int:
        return await Supervisor(config_path, version, journal, is_watching=is_watching).run()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(begin())
