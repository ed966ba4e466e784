"""What the control process says on stderr: one line per event, time, level, message.

    2026-11-23T01:02:03.456Z info  worker 0 serves snapshot 3 (pid 71, io_uring)

Written straight to the descriptor: the `logging` package costs 2 MB and a lock. A reader of stderr that hangs
costs lines, which are counted, and never stops the control process.
"""

import os
import select
import time

LEVELS = ("debug", "info", "warn", "error")
PIPE_SAFE = 4096        # POSIX's PIPE_BUF on Linux: a write of this size to a writable pipe does not block


class Journal:
    """Lines for people, with a level below which nothing is written."""

    def __init__(self, fd: int = 2, level: str = "info") -> None:
        self.fd = fd
        self.floor = LEVELS.index(level)
        self.lost = 0
        self._poll = select.poll()
        self._poll.register(fd, select.POLLOUT)

    def debug(self, text: str) -> None:
        self.write(0, text)

    def info(self, text: str) -> None:
        self.write(1, text)

    def warn(self, text: str) -> None:
        self.write(2, text)

    def error(self, text: str) -> None:
        self.write(3, text)

    def write(self, level: int, text: str) -> None:
        """Write one event. Lines after the first are indented, so that a reader can put them together again."""
        if level < self.floor:
            return
        now = time.time()
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now))
        head = f"{stamp}.{int(now * 1000) % 1000:03}Z {LEVELS[level]:<5} "
        body = text.rstrip("\n").replace("\n", "\n    ")
        self.raw(f"{head}{body}\n".encode("utf-8", "backslashreplace"))

    def raw(self, line: bytes) -> None:
        """Write bytes as they are, in pieces that cannot block; count what the reader does not take."""
        for at in range(0, len(line), PIPE_SAFE):
            ready = self._poll.poll(0)
            if not ready or not ready[0][1] & select.POLLOUT:
                self.lost += 1
                return
            try:
                os.write(self.fd, line[at:at + PIPE_SAFE])
            except OSError:
                self.lost += 1
                return
