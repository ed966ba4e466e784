"""Control's side of the compile process: start it, wait for its answer, bound it in time and size.

Each compile is a copy of control, which has pydantic, the YAML parser and the validators in memory: nothing needs to
be imported while somebody waits, and what the compile takes is gone with it. See docs/decisions/.
"""

import asyncio
import fcntl
import os
import socket
from collections.abc import Callable
from typing import Any

import msgpack

from fastmesh.control.compile_process import CONTROL_FD, HEADER, SNAPSHOT_FD, compile_once
from fastmesh.control.patience import within
from fastmesh.control.process import STDERR, Child

PATIENCE = 65.0             # seconds; the process itself gives up after 60 and says so
RESULT_LIMIT = 256 << 20    # bytes
STDERR_LIMIT = 65536        # bytes of a failed process's own words
END_SECONDS = 2.0           # for a killed process to be gone


class CompileFailed(Exception):
    """The process gave no answer. The text is for people."""


class Compiler:
    """At most one compile process at a time."""

    def __init__(self, work: Callable[[dict[str, Any]], None] = compile_once) -> None:
        self._work = work
        self._lock = asyncio.Lock()
        self._child: Child | None = None
        self._killed: list[Child] = []      # and perhaps not yet dead

    async def ask(self, request: dict[str, Any], snapshot_fd: int = -1) -> dict[str, Any]:
        """One request, one answer. `snapshot_fd` is SNAPSHOT_FD there. Raises CompileFailed when the process cannot be
        started, dies, hangs or talks nonsense."""
        async with self._lock:
            try:
                words = _memory_for_words()
            except OSError as error:
                raise CompileFailed(f"the compile process cannot be started: {error.strerror}") from None
            try:
                return await within(PATIENCE, self._exchange(request, words, snapshot_fd))
            except TimeoutError:
                raise CompileFailed(f"the compile process did not answer within {PATIENCE:g} s") from None
            except (EOFError, ValueError, ConnectionError) as error:
                raise CompileFailed(await self._last_words(error, words)) from None
            except OSError as error:
                raise CompileFailed(f"the compile process cannot be started: {error.strerror}") from None
            finally:
                self.let_go()
                os.close(words)

    async def _exchange(self, request: dict[str, Any], words: int, snapshot_fd: int) -> dict[str, Any]:
        ours, theirs = socket.socketpair()
        fds = {STDERR: words, CONTROL_FD: theirs.fileno(), **({SNAPSHOT_FD: snapshot_fd} if snapshot_fd >= 0 else {})}
        try:
            self._child = Child.fork(lambda: self._work(request), fds, lambda: None)
        except OSError:
            ours.close()
            raise
        finally:
            theirs.close()
        reader, writer = await asyncio.open_connection(sock=ours)
        try:
            size = int.from_bytes(await reader.readexactly(HEADER), "little")
            if size > RESULT_LIMIT:
                raise ValueError(f"an answer of {size} bytes")
            answer = msgpack.unpackb(await reader.readexactly(size), strict_map_key=False)
        finally:
            writer.close()
        if not isinstance(answer, dict) or not isinstance(answer.get("ok"), bool):
            raise ValueError("an answer without ok")
        return answer

    async def _last_words(self, error: Exception, words: int) -> str:
        """What went wrong, as far as the process said it."""
        how = f": {error}"
        if self._child is not None:
            for _ in range(50):     # one that closed its socket is about to be dead
                if not self._child.is_alive:
                    how = f" ({self._child.how_it_ended()})"
                    break
                await asyncio.sleep(0.01)
        said = os.pread(words, STDERR_LIMIT, 0).rstrip(b"\0").decode("utf-8", "replace").strip()
        tail = "".join(f"\n{line[:500]}" for line in said.splitlines()[-5:])
        return f"the compile process failed{how}{tail}"

    async def end(self) -> None:
        """End the process, and wait until it has."""
        self.let_go()
        try:
            await within(END_SECONDS, asyncio.gather(*(child.death.wait() for child in self._killed)))
        except TimeoutError:
            pass        # the kernel holds it

    def let_go(self) -> None:
        """End the process, whatever it is doing."""
        if self._child is not None:
            self._child.kill()
            self._killed = [child for child in self._killed if child.is_alive]
            self._killed.append(self._child)
            self._child = None


def _memory_for_words() -> int:
    """A descriptor that takes STDERR_LIMIT bytes and no more."""
    fd = os.memfd_create("fastmesh-compile-stderr", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        os.ftruncate(fd, STDERR_LIMIT)
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_SEAL)
    except BaseException:
        os.close(fd)
        raise
    return fd
