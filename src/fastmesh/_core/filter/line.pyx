"""A worker's end of the line to a filter host: bytes in, bytes out, and how it came to its end.

An io of the reactor over one end of an AF_UNIX stream: what is sent within one turn leaves with one system call, as
with every other connection. What the bytes mean is Python's business (fastmesh.worker.isolated); what that raises
closes the line.

The Line holds itself from `open` until the reactor has let go of its io.
"""
import os

from cpython.ref cimport Py_DECREF, Py_INCREF
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy
from fastmesh._core.filter cimport wait as wait_module
from fastmesh._core.filter.chain cimport Slot
from fastmesh._core.filter.chain import PHASES
from fastmesh._core.io.reactor cimport (
    SCRATCH_CHUNK, io_close, io_commit, io_open, io_ops_t, io_reserve, io_rx, io_t, reactor_soon, soon_t)
from fastmesh._core.mem.block cimport block_t
from fastmesh._core.mem.fault cimport FM_OK

UNSENT_MOST = 4194304         # bytes that the host has not taken yet, from which on no more calls are sent
OWED_MOST = 33554432          # and from which on it is not even told what it has asked for
MESSAGE_MOST = 98304          # bytes of one message

cdef set open_lines = set()


cdef struct line_core_t:
    io_t io                   # first
    void *line                # the Line, borrowed: it holds itself

cdef struct line_soon_t:
    soon_t soon               # first
    void *line                # one reference while it is due


cdef class Line:
    """`receive(data)` is called with what comes, `lost(why)` once when the peer has gone or the line broke, `settled()`
    at the end of a turn in which `later` was called."""
    cdef line_core_t core
    cdef line_soon_t soon
    cdef object receive
    cdef object lost
    cdef object settled
    cdef int fd
    cdef readonly bint is_open
    cdef readonly bint is_over

    def __init__(self, int fd, receive, lost, settled):
        """Takes the descriptor over."""
        self.fd = fd
        self.receive = receive
        self.lost = lost
        self.settled = settled
        self.core.line = <void *>self
        self.soon.line = <void *>self
        self.soon.soon.run = _on_soon

    def __dealloc__(self):
        if self.fd >= 0:
            os.close(self.fd)

    def open(self):
        """Only within a worker that has filters. Raises OSError."""
        cdef int fd = self.fd
        if self.is_open or self.is_over:
            return
        if wait_module.wait_reactor is NULL:
            raise RuntimeError("there is no worker yet")
        os.set_blocking(fd, False)
        self.fd = -1
        if io_open(wait_module.wait_reactor, &self.core.io, fd, &OPS) != FM_OK:
            self.is_over = True
            raise OSError("the line to the filter host cannot be watched")
        self.is_open = True
        Py_INCREF(self)
        open_lines.add(self)
        io_rx(&self.core.io, True)

    def send(self, bytes data, bint is_owed=False):
        """Puts a message into the queue. False: the queue is full, or the line is over. `is_owed`: the host has asked
        for it, which it can do only so often at a time."""
        cdef uint32_t n = <uint32_t>len(data)
        cdef uint8_t *room
        if (not self.is_open or n > SCRATCH_CHUNK
                or self.core.io.out_bytes > <uint32_t>(OWED_MOST if is_owed else UNSENT_MOST)):
            return False
        room = io_reserve(&self.core.io, n)
        memcpy(room, <const uint8_t *><char *>data, n)
        io_commit(&self.core.io, room, n)
        return True

    def later(self):
        """Asks for `settled` at the end of this turn or the next."""
        if self.is_open and not self.soon.soon.is_due:
            Py_INCREF(self)
            reactor_soon(self.core.io.reactor, &self.soon.soon)

    def close(self):
        """Says nothing more, and hears nothing more."""
        self.is_over = True
        if self.is_open:
            self.is_open = False
            open_lines.discard(self)
            io_close(&self.core.io)

    @property
    def unsent(self):
        """Bytes that wait for the host to take them."""
        return self.core.io.out_bytes if self.is_open else 0


cdef void _end(Line line, str why) noexcept:
    if not line.is_open:
        return
    line.close()
    try:
        line.lost(why)
    except BaseException:
        pass        # it is over anyway, and this is no filter's code


cdef void _on_bytes(io_t *io, const uint8_t *p, uint32_t n, block_t *blk) noexcept nogil:
    with gil:
        line = <Line>(<line_core_t *>io).line
        try:
            line.receive((<const char *>p)[:n])
        except BaseException as error:
            _end(line, f"it said what cannot be understood: {error}")


cdef void _on_eof(io_t *io) noexcept nogil:
    with gil:
        _end(<Line>(<line_core_t *>io).line, "it has ended")


cdef void _on_error(io_t *io, int err) noexcept nogil:
    with gil:
        _end(<Line>(<line_core_t *>io).line, f"the line to it broke: {os.strerror(err)}")


cdef void _on_closed(io_t *io) noexcept nogil:
    with gil:
        Py_DECREF(<Line>(<line_core_t *>io).line)


cdef void _on_soon(soon_t *k) noexcept nogil:
    with gil:
        line = <Line>(<line_soon_t *>k).line
        if line.is_open:
            try:
                line.settled()
            except BaseException as error:
                _end(line, f"an error of the proxy's own: {error}")
        Py_DECREF(line)


cdef void _on_nothing(io_t *io) noexcept nogil:
    pass


cdef void _on_number(io_t *io, int number) noexcept nogil:
    pass


cdef io_ops_t OPS
OPS.on_bytes = _on_bytes
OPS.on_eof = _on_eof
OPS.on_error = _on_error
OPS.on_connect = _on_number
OPS.on_drained = _on_nothing
OPS.on_accept = _on_number
OPS.on_ready = _on_number
OPS.on_closed = _on_closed


def close_lines():
    """All that are open: the reactor is about to be freed."""
    for line in list(open_lines):
        line.close()


def count_cpu(Slot slot, str phase, uint64_t ns):
    """Adds what a phase has cost in the filter host to its row in the ledger."""
    cdef int number = PHASES[phase][0]
    if slot.c.row is not NULL:
        slot.c.row.phases[number].cpu_ns += ns
