"""See host_line.pxd.

What one read brings is answered with one write. Under load more has come by then: it is read at once, which spares a
turn of the loop, as long as that pays. Much work is interrupted after a few milliseconds, so that the loop turns. While
the worker does not take what is said to it, nothing is read.
"""
import asyncio
import os

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.errno cimport EAGAIN, EINTR, errno
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memmove
from fastmesh._core.hosted.heard cimport heard_size, heard_t, heard_value
from fastmesh._core.mem.raw cimport raw_give, raw_take

cdef extern from "<sys/socket.h>" nogil:
    enum:
        MSG_DONTWAIT
        MSG_NOSIGNAL
    ssize_t recv(int fd, void *to, size_t n, int flags)
    ssize_t send(int fd, const void *p, size_t n, int flags)

cdef extern from *:
    """
    #include <stdint.h>
    #include <time.h>
    static inline uint64_t fm_line_ns(void) {
        struct timespec t;
        clock_gettime(CLOCK_MONOTONIC, &t);
        return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
    }
    """
    uint64_t fm_line_ns() noexcept nogil

cdef enum:
    READ_BYTES = 262144
    KEPT_MOST = 131072        # bytes of a message of which the rest has not come: more than any may have
    UNSENT_MOST = 1048576
    GO_NS = 5000000           # of work between two turns of the loop
    READS_MOST = 4            # of one turn: tasks wait for it
    MISSES_MOST = 4           # looks for more that found nothing, after which there is none for a while
    TRY_EVERY = 16            # turns, meanwhile


cdef class Taker:
    cdef int obey(self, const uint8_t *p, uint32_t n) except -1:
        return 0


cdef class Line:
    """Messages in, bytes out."""

    def __cinit__(self):
        self.room = <uint8_t *>raw_take(READ_BYTES)

    def __init__(self, sock):
        sock.setblocking(False)
        self.is_over = asyncio.Event()
        self.why = "the worker has closed it"
        self.socket = sock
        self.fd = sock.fileno()
        self.loop = asyncio.get_running_loop()
        self.out = []
        self.rest = b""
        self.readable, self.writable, self.flush, self.work = self._readable, self._writable, self._flush, self._work

    def __dealloc__(self):
        raw_give(self.room)

    def begin(self, take):
        """`take` gets each message; what it raises closes the line, as does what is no message."""
        if isinstance(take, Taker):
            self.taker = take
        else:
            self.take = take
        self._pause(False)

    def write(self, bytes made not None):
        self.out.append(made)
        if not self.is_working and not self.is_flush_due:
            # From a task: others of this turn may have something to say as well.
            self.is_flush_due = True
            self.loop.call_soon(self.flush)

    def close(self):
        if not self.is_closed:
            self.is_closed = True
            self.is_over.set()
            self.loop.remove_reader(self.fd)
            self.loop.remove_writer(self.fd)
            # They hold the line.
            self.readable = self.writable = self.flush = self.work = None
            self.socket.close()

    def _readable(self):
        cdef int i
        self.turns += 1
        for i in range(READS_MOST):
            if not self._read():
                return
            if i:
                self.misses = 0
            elif self.misses >= MISSES_MOST and self.turns % TRY_EVERY:
                return

    cdef bint _read(self) except -1:
        """Takes what has come. Whether there may be more."""
        cdef ssize_t n
        if self.is_closed:
            return False
        if self.at:
            memmove(self.room, self.room + self.at, self.used - self.at)
            self.used -= self.at
            self.at = 0
        if self.used == READ_BYTES:     # there is work left to do
            return False
        n = recv(self.fd, self.room + self.used, READ_BYTES - self.used, MSG_DONTWAIT)
        if n < 0:
            if errno == EAGAIN or errno == EINTR:
                self.misses += 1
                return False
            self.why = os.strerror(errno)
            self.close()
            return False
        if n == 0:
            self.close()
            return False
        self.used += <uint32_t>n
        self._work()
        return self.is_reading and not self.is_closed

    cdef int _obey(self, const uint8_t *p, uint32_t n) except -1:
        cdef heard_t h
        if self.taker is not None:
            return self.taker.obey(p, n)
        h.p, h.end, h.is_wrong = p, p + n, False
        self.take(heard_value(&h))
        return 0

    def _work(self):
        cdef uint64_t end
        cdef int64_t size
        if self.is_closed or self.is_working:
            return
        end = fm_line_ns() + GO_NS
        self.is_working = True
        try:
            while True:
                size = heard_size(self.room + self.at, self.used - self.at)
                if size < 0 or size == 0 and self.used - self.at > KEPT_MOST:
                    raise ValueError("no message")
                if size == 0:
                    self._pause(False)
                    break
                self.at += <uint32_t>size
                self._obey(self.room + self.at - size, <uint32_t>size)
                if self.is_closed:
                    break
                if fm_line_ns() > end:
                    self._pause(True)
                    if not self.is_closed:
                        self.loop.call_soon(self.work)
                    break
        except Exception as error:
            self.why = f"the worker said what cannot be understood: {type(error).__name__}: {error}"
            self.close()
        finally:
            self.is_working = False
        self._flush()

    cdef int _pause(self, bint is_paused) except -1:
        """No reading while there is work, or while the worker does not read."""
        cdef bint wanted = not is_paused and PyBytes_GET_SIZE(self.rest) <= UNSENT_MOST
        if wanted != self.is_reading and not self.is_closed:
            self.is_reading = wanted
            if wanted:
                self.loop.add_reader(self.fd, self.readable)
            else:
                self.loop.remove_reader(self.fd)
        return 0

    def _flush(self):
        cdef bytes made
        cdef Py_ssize_t size
        cdef ssize_t sent
        cdef bint had_rest
        self.is_flush_due = False
        had_rest = PyBytes_GET_SIZE(self.rest) > 0
        if self.is_closed or not (self.out or had_rest):
            return
        made = self.out[0] if len(self.out) == 1 and not had_rest else b"".join([self.rest, *self.out])
        self.out.clear()
        size = PyBytes_GET_SIZE(made)
        sent = send(self.fd, PyBytes_AS_STRING(made), <size_t>size, MSG_DONTWAIT | MSG_NOSIGNAL)
        if sent < 0:
            if errno != EAGAIN and errno != EINTR:
                self.why = os.strerror(errno)
                self.close()
                return
            sent = 0
        self.rest = made[sent:] if sent < size else b""
        if (sent < size) != had_rest:
            if sent < size:
                self.loop.add_writer(self.fd, self.writable)
            else:
                self.loop.remove_writer(self.fd)
        if size - sent > UNSENT_MOST:
            self._pause(True)

    def _writable(self):
        self._flush()
        if not self.rest and not self.is_reading:
            self._work()
