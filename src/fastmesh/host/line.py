"""A filter host's end of the line to its worker.

What one read brings is answered with one write. Under load more has come by then: it is read at once, which spares a
turn of the loop, as long as that pays. Much work is interrupted after a few milliseconds, so that the loop turns. While
the worker does not take what is said to it, nothing is read.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from time import monotonic
from typing import Any

import msgpack

from fastmesh.filters.protocol import CALLS_MOST, MESSAGE_MOST

READ_BYTES = 262144
UNSENT_MOST = 1048576
GO_SECONDS = 0.005      # of work between two turns of the loop
READS_MOST = 4          # of one turn: tasks wait for it
MISSES_MOST = 4         # looks for more that found nothing, after which there is none for a while
TRY_EVERY = 16          # turns, meanwhile


class Line:
    """Messages in, bytes out."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self.is_over = asyncio.Event()
        self.why = "the worker has closed it"
        self._socket = sock
        self._take: Callable[[list[Any]], None] = print
        self._loop = asyncio.get_running_loop()
        self._unpacker = msgpack.Unpacker(max_buffer_size=READ_BYTES + 8 * MESSAGE_MOST, max_str_len=MESSAGE_MOST,
                                          max_bin_len=MESSAGE_MOST, max_array_len=CALLS_MOST, max_map_len=64,
                                          max_ext_len=0)
        self._out: list[bytes] = []
        self._rest = b""
        self._room = memoryview(bytearray(READ_BYTES))
        self._turns = 0
        self._misses = 0
        self._is_reading = False
        self._is_working = False
        self._is_flush_due = False

    def begin(self, take: Callable[[list[Any]], None]) -> None:
        """`take` gets each message; what it raises closes the line, as does what is no message."""
        self._take = take
        self._pause(False)

    def write(self, data: bytes) -> None:
        self._out.append(data)
        if not self._is_working and not self._is_flush_due:
            # From a task: others of this turn may have something to say as well.
            self._is_flush_due = True
            self._loop.call_soon(self._flush)

    def close(self) -> None:
        if not self.is_over.is_set():
            self.is_over.set()
            self._loop.remove_reader(self._socket.fileno())
            self._loop.remove_writer(self._socket.fileno())
            self._socket.close()

    def _readable(self) -> None:
        self._turns += 1
        for i in range(READS_MOST):
            if not self._read():
                return
            if i:
                self._misses = 0
            elif self._misses >= MISSES_MOST and self._turns % TRY_EVERY:
                return

    def _read(self) -> bool:
        """Takes what has come. Whether there may be more."""
        try:
            size = self._socket.recv_into(self._room)
        except (BlockingIOError, InterruptedError):
            self._misses += 1
            return False
        except OSError as error:
            self.why = str(error.strerror)
            self.close()
            return False
        if not size:
            self.close()
            return False
        self._unpacker.feed(self._room[:size])
        self._work()
        return self._is_reading and not self.is_over.is_set()

    def _work(self) -> None:
        if self.is_over.is_set():
            return
        end = monotonic() + GO_SECONDS
        self._is_working = True
        try:
            for message in self._unpacker:
                self._take(message)
                if monotonic() > end:
                    self._pause(True)
                    self._loop.call_soon(self._work)
                    break
            else:
                self._pause(False)
        except Exception as error:
            self.why = f"the worker said what cannot be understood: {type(error).__name__}: {error}"
            self.close()
        finally:
            self._is_working = False
        self._flush()

    def _pause(self, is_paused: bool) -> None:
        """No reading while there is work, or while the worker does not read."""
        wanted = not is_paused and len(self._rest) <= UNSENT_MOST
        if wanted != self._is_reading and not self.is_over.is_set():
            self._is_reading = wanted
            if wanted:
                self._loop.add_reader(self._socket.fileno(), self._readable)
            else:
                self._loop.remove_reader(self._socket.fileno())

    def _flush(self) -> None:
        self._is_flush_due = False
        if self.is_over.is_set() or not (self._out or self._rest):
            return
        data = b"".join((self._rest, *self._out)) if self._rest or len(self._out) > 1 else self._out[0]
        self._out.clear()
        had_rest = bool(self._rest)
        try:
            sent = self._socket.send(data)
        except (BlockingIOError, InterruptedError):
            sent = 0
        except OSError as error:
            self.why = str(error.strerror)
            self.close()
            return
        self._rest = data[sent:] if sent < len(data) else b""
        if bool(self._rest) != had_rest:
            if self._rest:
                self._loop.add_writer(self._socket.fileno(), self._writable)
            else:
                self._loop.remove_writer(self._socket.fileno())
        if len(self._rest) > UNSENT_MOST:
            self._pause(True)

    def _writable(self) -> None:
        self._flush()
        if not self._rest and not self._is_reading:
            self._work()
