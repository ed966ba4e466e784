"""A worker's kernel in memory: its lines, and the engine that its reactor has in place of epoll.

What a stage does at a place where another kernel does otherwise is a method of its own: a kernel that is harsher, or
has other manners, is derived from these classes.
"""
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from fastmesh._core.io.reactor cimport engine_t, io_t, reactor_t, scratch_t
from fastmesh._core.mem.block cimport block_t
from fastmesh._core.sys.socket cimport sockaddr, socklen_t

cdef enum:
    # News of a line.
    NEWS_IN = 1
    NEWS_OUT = 2
    NEWS_CONNECT = 4
    NEWS_ERROR = 8

cdef uint64_t clock_ns        # of all stages
cdef engine_t IN_MEMORY       # with the manners of io/poll_epoll


cdef class Stage


cdef class Line:
    cdef io_t *io                     # NULL before engine.add and after the close
    cdef Stage stage
    cdef readonly int fd
    cdef readonly str role            # "client", "upstream" or "door"
    cdef readonly str peer            # of a client its address, of an upstream the endpoint's
    cdef object inbound               # bytes that are to be received
    cdef object backlog               # of the door: addresses of who waits
    cdef bytearray outbound           # what the worker has sent and nobody has taken
    cdef readonly bint is_connecting
    cdef readonly bint is_shut        # the worker sends no more
    cdef readonly bint was_reset
    cdef readonly bint is_closed
    cdef readonly bint has_nodelay
    cdef bint has_ended               # the other end sends no more
    cdef readonly int broken          # errno of every further call
    cdef int news                     # that the worker has not been told

    cdef bint is_over(self)
    cdef bint is_first(self)
    cdef bint is_readable(self)
    cdef void append(self, bytes piece)
    cdef void hang_up(self)
    cdef void fail(self, int err)
    cdef void decide(self, int err)
    cdef int send(self, const uint8_t *p, size_t n)
    cdef object receive(self, size_t n, bint peek)
    cdef void shut(self)


cdef class Stage:
    cdef reactor_t *r                 # of the worker; NULL before and after it
    cdef readonly Line door           # where clients connect: listener 0
    cdef readonly list guests         # clients that were accepted and that nobody has looked at
    cdef readonly list connects       # connects that have begun and that nobody has looked at
    cdef list news                    # lines that have some, in order
    cdef int batch_most               # so many of them are told in one turn
    cdef io_t *later                  # to be read again, linked as in io/poll_epoll
    cdef readonly object error        # of the stage itself: raised by the next turn

    cdef reactor_t *alive(self) except NULL
    cdef object go(self, uint64_t most_ns)
    cdef bint has_work(self)
    cdef void fail(self, object error)
    # --- where kernels differ
    cdef const engine_t *engine(self)
    cdef Line new_line(self, str role, str peer, int fd)
    cdef bint has_descriptors(self)
    cdef void tell(self, Line s, int what)
    cdef void forget(self, Line s)
    cdef void put_block(self, block_t *k)
    cdef void reset_scratch(self, scratch_t *s)
    cdef ssize_t splice(self, Line s, int fd_in, int fd_out, size_t n)
    # --- the engine
    cdef int add(self, io_t *io)
    cdef void rx(self, io_t *io)
    cdef void listen(self, io_t *io, bint on)
    cdef void connect(self, io_t *io, const sockaddr *to, socklen_t n)
    cdef void watch(self, io_t *io)
    cdef void watched(self, Line s, int news)
    cdef void drop(self, io_t *io)
    cdef void run(self, uint64_t wait_ns)
    cdef void send(self, Line s)
    cdef void flush(self)
    cdef void read(self, Line s)
    cdef void accept(self, Line s)
    cdef void hangup(self, Line s)
    cdef void event(self, Line s, int news)


cdef Line line_of(io_t *io)
cdef int fresh_fd()
# Hands bytes over, which lie at the end of their block: reading on is reading beyond it.
cdef void deliver(io_t *io, block_t *k, bytes piece)
