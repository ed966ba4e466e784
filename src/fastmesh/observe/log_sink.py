"""From the rings of access-log lines in shared memory to a file or a pipe.

Workers write whole lines into their ring and go on; when the ring is full they count what they drop. A thread
of the control process empties the rings. It alone may wait for a slow disk or a reader that hangs: then rings
fill and lines are lost, and neither a request nor the control loop notices.
"""

import errno
import os
import select
import threading
from collections.abc import Callable, Iterable
from time import monotonic

from fastmesh._core.mem.counter import LAYOUT
from fastmesh.observe.stats import WORD, StatsFile

RING = LAYOUT["log_size"]
PIECE = 65536           # bytes read from a ring at a time
LONGEST_LINE = 262144   # more than a worker writes as one line
SAFE_PIECE = 4096       # bytes written at a time to a descriptor that may block (PIPE_BUF)
SHORTEST_NAP = 0.01     # seconds between two looks while lines come fast
LONGEST_NAP = 0.1       # while they do not: a full-speed burst fills a ring of 1 MiB in about this time
STUCK_NAP = 0.25        # a reader that takes nothing, or a file that cannot be opened, is tried again this often
REOPEN_AFTER = 1.0      # seconds after a failure to open or write the file


class LogSink:
    """Writes the lines of all rings to `path`, in order per worker, whole lines only."""

    def __init__(self, path: str, files: Callable[[], Iterable[StatsFile]], warn: Callable[[str], None]) -> None:
        """`files` gives the rings there are now; `warn` is called from the sink's thread."""
        self.path = path
        self.files = files
        self.warn = warn
        self.lines = 0              # lines written
        self.lost = 0               # lines taken from a ring that nobody will get
        self.failures = 0           # failed attempts to open or to write, since the last write
        self._fd = -1
        self._chunk = PIECE
        self._rest = b""            # read from a ring, not yet written
        self._is_torn = False       # what is written ends within a line, whose end is in the rest
        self._reopen = False
        self._retry_at = 0.0
        self._stop_at: float | None = None
        self._is_given_up = False   # the thread hangs, and another sink may read the rings by now
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._thread = threading.Thread(target=self._run, name="access-log", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def reopen(self) -> None:
        """Close and open the file again, as log rotation wants it (SIGUSR1)."""
        self._reopen = True
        os.eventfd_write(self._wake, 1)

    def stop(self, seconds: float) -> None:
        """Write what is there, for at most this long, and end the thread. What remains is lost."""
        self._stop_at = monotonic() + seconds
        os.eventfd_write(self._wake, 1)
        self._thread.join(seconds + STUCK_NAP)
        if self._thread.is_alive():
            self._is_given_up = True
        else:
            os.close(self._wake)
            self.lost += self._rest.count(b"\n")

    def _run(self) -> None:
        nap = LONGEST_NAP
        waiter = select.poll()
        waiter.register(self._wake, select.POLLIN)
        while True:
            moved = self._turn()
            if self._stop_at is not None and (moved == 0 or monotonic() > self._stop_at):
                break
            if moved < 0:
                nap = STUCK_NAP
            elif moved > RING // 8:
                nap = SHORTEST_NAP
            else:
                nap = min(max(nap, SHORTEST_NAP) * 1.5, LONGEST_NAP) if moved == 0 else min(nap, LONGEST_NAP / 2)
            # A reader that is only slow goes on at its own pace: it is given more as soon as it has taken something.
            full = self._fd if moved < 0 else -1
            if full >= 0:
                waiter.register(full, select.POLLOUT)
            ready = waiter.poll(nap * 1000)
            if full >= 0:
                waiter.unregister(full)
            if any(fd == self._wake for fd, _ in ready):
                os.eventfd_read(self._wake)
        self._close()

    def _turn(self) -> int:
        """Empty all rings once. Returns the bytes written, or -1 when the reader takes no more."""
        if self._reopen:
            self._reopen = False
            self._retry_at = 0.0
            if self._fd >= 0:
                self._write()
            self._drop_torn()       # the new file begins with a whole line
            self._close()
        if self._fd < 0 and not self._open():
            return -1
        moved = 0
        if not self._write():
            return -1
        for file in list(self.files()):
            # Bounded: a worker that logs without end must not keep the others' lines waiting.
            end = _head(file)
            tail = _tail(file)
            if end - tail > RING:       # never written so: the memory is damaged; begin again at the end
                _set_tail(file, end)
                continue
            while tail < end:
                if self._is_given_up:
                    return -1
                # Ends with a line, so that another ring's lines may follow even when this piece has to wait.
                piece = _read(file, tail, min(end - tail, PIECE))
                if b"\n" not in piece:
                    piece = _read(file, tail, min(end - tail, LONGEST_LINE))
                piece = piece[:piece.rfind(b"\n") + 1] or piece
                tail += len(piece)
                _set_tail(file, tail)
                self._rest = piece
                moved += len(piece)
                self.lines += piece.count(b"\n")
                if not self._write():
                    return -1
        return moved

    def _write(self) -> bool:
        """Write the rest; False when not all of it could be written now."""
        waiter = select.poll()
        waiter.register(self._fd, select.POLLOUT)
        while self._rest:
            ready = waiter.poll(0 if self._stop_at is None else max(0.0, self._stop_at - monotonic()) * 1000)
            if not ready:
                return False
            try:
                # POLLERR of a pipe without readers comes here too, and becomes EPIPE.
                wrote = os.write(self._fd, self._rest[:self._chunk])
            except BlockingIOError:
                return False
            except OSError as error:
                if error.errno == errno.EPIPE:
                    self._drop_torn()       # another reader's first line is a whole one
                self._close()               # what the pipe still holds is nobody's
                self._failed(f"access log {self.path}: {error.strerror}; trying again every {REOPEN_AFTER:g} s, "
                             "lines are lost when too many wait")
                return False
            self._is_torn = self._rest[wrote - 1:wrote] != b"\n"
            self._rest = self._rest[wrote:]
            if self.failures:
                self.failures = 0
                self.warn(f"access log {self.path}: writing again")
        return True

    def _drop_torn(self) -> None:
        if self._is_torn:
            self._rest = self._rest.partition(b"\n")[2]
            self._is_torn = False
            self.lost += 1

    def _open(self) -> bool:
        if monotonic() < self._retry_at:
            return False
        try:
            self._fd, self._chunk = open_log(self.path)
        except OSError as error:
            self._failed(f"access log {self.path}: {error.strerror}; trying again every {REOPEN_AFTER:g} s")
            return False
        return True

    def _failed(self, text: str) -> None:
        self._retry_at = monotonic() + REOPEN_AFTER
        self.failures += 1
        if self.failures == 1:
            self.warn(text)

    def _close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def open_log(path: str) -> tuple[int, int]:
    """Open for appending; returns the descriptor and how much may be written at a time. Raises OSError.

    A pipe or a terminal is opened anew through /proc, so that O_NONBLOCK is ours and not set on the descriptor
    that other processes share. Where that is refused (another user's stdout, a socket) the descriptor itself is
    copied, and written in pieces that cannot block.
    """
    try:
        fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NONBLOCK | os.O_CLOEXEC, 0o640)
    except OSError:
        shared = {"/dev/stdout": 1, "/dev/stderr": 2}.get(path)
        if shared is None:
            raise
        return os.dup(shared), SAFE_PIECE
    return fd, PIECE


def check_log(path: str) -> str | None:
    """Why the log cannot be written, or None. For a start or a reload that should fail at once."""
    try:
        fd, _ = open_log(path)
    except OSError as error:
        # A named pipe without a reader is no mistake: the reader may come later.
        return None if error.errno == 6 else f"access log {path}: {error.strerror}"
    os.close(fd)
    return None


def _word(file: StatsFile, name: str) -> int:
    return int.from_bytes(os.pread(file.fd, WORD, LAYOUT[name]), "little")


def _head(file: StatsFile) -> int:
    return _word(file, "log_head")


def _tail(file: StatsFile) -> int:
    return _word(file, "log_tail")


def _set_tail(file: StatsFile, value: int) -> None:
    os.pwrite(file.fd, value.to_bytes(WORD, "little"), LAYOUT["log_tail"])


def _read(file: StatsFile, at: int, count: int) -> bytes:
    """Bytes of the ring from an ever-growing position on, also over its end."""
    begin = at % RING
    piece = os.pread(file.fd, min(count, RING - begin), LAYOUT["log_bytes"] + begin)
    if len(piece) < count:
        piece += os.pread(file.fd, count - len(piece), LAYOUT["log_bytes"])
    return piece
