"""Control's side of the compile process: start it, ask it, bound it in time and size, let it go.

The process is kept for a while after each use, and started ahead when the file changes: a reload then finds it
ready. After that it goes, and its 20 MB with it. See docs/decisions/ for the numbers behind that choice.
"""

import asyncio
import fcntl
import os
import socket
from collections.abc import Sequence
from typing import Any

import msgpack

from fastmesh.control.process import Child, command

PATIENCE = 65.0             # seconds; the process itself gives up after 60 and says so
WARM_SECONDS = 60.0         # how long an idle process is kept
WATCH_SECONDS = 0.5         # how often the file is looked at
RESULT_LIMIT = 256 << 20    # bytes
STDERR_LIMIT = 65536        # bytes of a failed process's own words
HEADER = 8


class CompileFailed(Exception):
    """The process gave no answer. The text is for people."""


class Compiler:
    """At most one compile process, used by one request at a time."""

    def __init__(self, paths: Sequence[str], warm_seconds: float = WARM_SECONDS) -> None:
        self._argv = command("fastmesh.control.compile_process", paths)
        self._warm_seconds = warm_seconds
        self._lock = asyncio.Lock()
        self._child: Child | None = None
        self._stream: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self._words = -1        # memfd: what the process writes to stderr
        self._release: asyncio.TimerHandle | None = None
        self._warming: asyncio.Task[None] | None = None

    @property
    def is_warm(self) -> bool:
        """A process is there and waits."""
        return self._child is not None and self._child.is_alive

    def warm(self) -> None:
        """Start a process ahead of its use."""
        if self._warming is None or self._warming.done():
            self._warming = asyncio.get_running_loop().create_task(self._warm())

    async def _warm(self) -> None:
        if self.is_warm or self._lock.locked():
            return
        try:
            await self.ask({"rehearse": True})
        except (CompileFailed, OSError):
            pass        # the real request reports it

    async def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        """One request, one answer. Raises CompileFailed when the process dies, hangs or talks nonsense."""
        async with self._lock:
            if self._release is not None:
                self._release.cancel()
            try:
                if not self.is_warm:
                    await self._start()
                async with asyncio.timeout(PATIENCE):
                    answer = await self._exchange(request)
            except TimeoutError:
                self.let_go()
                raise CompileFailed(f"the compile process did not answer within {PATIENCE:g} s") from None
            except (OSError, EOFError, ValueError) as error:
                raise CompileFailed(await self._last_words(error)) from None
            except BaseException:
                self.let_go()       # cancelled: the next request must not read this one's answer
                raise
            self._release = asyncio.get_running_loop().call_later(self._warm_seconds, self.let_go)
            return answer

    async def _start(self) -> None:
        self.let_go()
        ours, theirs = socket.socketpair()
        self._words = os.memfd_create("fastmesh-compile-stderr", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        os.ftruncate(self._words, STDERR_LIMIT)
        _seal_size(self._words)
        try:
            self._child = Child(self._argv, {2: self._words, 3: theirs.fileno()}, lambda: None, os.environ)
        except OSError:
            ours.close()
            raise
        finally:
            theirs.close()
        self._stream = await asyncio.open_connection(sock=ours)

    async def _exchange(self, request: dict[str, Any]) -> dict[str, Any]:
        assert self._stream is not None
        reader, writer = self._stream
        packed = msgpack.packb(request)
        writer.write(len(packed).to_bytes(HEADER, "little") + packed)
        await writer.drain()
        size = int.from_bytes(await reader.readexactly(HEADER), "little")
        if size > RESULT_LIMIT:
            raise ValueError(f"an answer of {size} bytes")
        answer = msgpack.unpackb(await reader.readexactly(size), strict_map_key=False)
        if not isinstance(answer, dict) or not isinstance(answer.get("ok"), bool):
            raise ValueError("an answer without ok")
        return answer

    async def _last_words(self, error: Exception) -> str:
        """What went wrong, as far as the process said it."""
        how, words = f": {error}", ""
        if self._child is not None:
            for _ in range(50):     # one that closed its socket is about to be dead
                if not self._child.is_alive:
                    how = f" ({self._child.how_it_ended()})"
                    break
                await asyncio.sleep(0.01)
            words = os.pread(self._words, STDERR_LIMIT, 0).rstrip(b"\0").decode("utf-8", "replace").strip()
        self.let_go()
        tail = "".join(f"\n{line[:500]}" for line in words.splitlines()[-5:])
        return f"the compile process failed{how}{tail}"

    def let_go(self) -> None:
        """End the process, whatever it is doing."""
        if self._release is not None:
            self._release.cancel()
            self._release = None
        if self._stream is not None:
            self._stream[1].close()
            self._stream = None
        if self._child is not None:
            self._child.kill()
            self._child = None
        if self._words >= 0:
            os.close(self._words)
            self._words = -1


class FileWatch:
    """Notices that a file has changed, by looking: also through symbolic links and on network file systems."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._seen = self._look()

    def _look(self) -> tuple[int, int, int] | None:
        try:
            found = os.stat(self.path)
        except OSError:
            return None
        return found.st_mtime_ns, found.st_size, found.st_ino

    def has_changed(self) -> bool:
        """Since the last call."""
        now = self._look()
        changed = now != self._seen
        self._seen = now
        return changed


def _seal_size(fd: int) -> None:
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_SEAL)
