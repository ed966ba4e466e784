"""A worker's kernel in memory: sockets that are objects, and a clock that moves only when it is told to.

A worker made by `Stage.hire` is the real one, of which nothing is replaced but the engine of its reactor and the
system calls on its sockets. It has the manners of io/poll_epoll: readiness is told, calls are made then, and a send is
done when flush returns. Whoever holds the other ends of the sockets has `Line`s.

Any number of stages may be up in a process. They share one clock, and descriptors that are numbers of no descriptor.
"""
import os
from collections import deque

from libc cimport errno as c_errno
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy
from cpython.ref cimport Py_DECREF, Py_INCREF
from fastmesh._core.io cimport reactor as io_reactor
from fastmesh._core.io.reactor cimport (
    ENGINE_EPOLL, IO_CLOSE_SENT, IO_CLOSING, IO_CONNECTING, IO_DIRTY, IO_EOF, IO_HANGUP, IO_IN_READY, IO_LISTEN,
    IO_RX_HUP_SEEN, IO_RX_READY, IO_RX_WANT, IO_TX_BROKEN, engine_t, io_after_send, io_drop_queue,
    io_failed, io_gone, io_keep, io_sent, io_t, reactor_t, reactor_turn, scratch_reset, slice_t, socket_calls_t)
from fastmesh._core.mem.block cimport BLOCK_LARGE, block_new, block_put, block_t
from fastmesh._core.mem.counter cimport PHASE_COUNT, STATS_FILTERS, filter_row_t
from fastmesh._core.mem.fault cimport FM_OK
from fastmesh._core.net.addr cimport ADDR_TEXT, addr_from_sockaddr, addr_parse, addr_print, addr_t, addr_to_sockaddr
from fastmesh._core.http.edit cimport heads_live
from fastmesh._core.snapshot.snapshot cimport snapshot_live
from fastmesh._core.sys.socket cimport (
    MSG_PEEK, SHUT_WR, SO_LINGER, SOL_SOCKET, sockaddr, sockaddr_storage, socklen_t)
from fastmesh._core.worker import Worker

cdef extern from "<errno.h>" nogil:
    int EAGAIN_ "EAGAIN"
    int EOPNOTSUPP_ "EOPNOTSUPP"
    int ENOTCONN_ "ENOTCONN"
    int EPIPE_ "EPIPE"
    int ECONNREFUSED_ "ECONNREFUSED"
    int ECONNRESET_ "ECONNRESET"

cdef enum:
    FIRST_FD = 0x40000000     # numbers that no descriptor of this process has
    READS = 8                 # as in io/poll_epoll
    NEWS_IN = 1
    NEWS_CONNECT = 2
    NEWS_ERROR = 4

cdef object END = object()    # stands in a receive queue: the peer has closed its side
cdef dict lines = {}          # descriptor -> Line, while it is open
cdef int next_fd = FIRST_FD
cdef uint64_t clock_ns = 1000 * 1000000000
cdef Stage hiring = None
cdef bint is_turning_now = False      # of any stage: what filters wait for belongs to one worker at a time


cdef class Line:
    """What the worker has a descriptor for, seen from its other end."""
    cdef io_t *io                     # NULL before engine.add and after the close
    cdef Stage stage                  # None before engine.add
    cdef readonly int fd
    cdef readonly str peer            # of a client its address, of an upstream the endpoint's
    cdef object inbound               # what is to be received: bytes, END
    cdef object backlog               # of the door: addresses of who waits
    cdef bytearray outbound           # what the worker has sent and nobody has taken
    cdef readonly bint is_connecting
    cdef readonly bint is_shut        # the worker sends no more
    cdef readonly bint was_reset
    cdef readonly bint is_closed
    cdef int broken                   # errno of every further call
    cdef int news

    def __cinit__(self, Stage stage, int fd, str peer):
        self.stage = stage
        self.fd = fd
        self.peer = peer
        self.inbound = deque()
        self.backlog = deque()
        self.outbound = bytearray()
        lines[fd] = self

    # --- what the other end does ---------------------------------------------------------------------------------

    def feed(self, bytes piece):
        """Bytes arrive, in one piece."""
        if piece and not self.is_closed:
            self.inbound.append(piece)
            self.tell(NEWS_IN)

    def end(self):
        """Sends no more."""
        if not self.is_closed:
            self.inbound.append(END)
            self.tell(NEWS_IN)

    def reset(self):
        """Is gone."""
        if not self.is_closed and not self.broken:
            self.broken = ECONNRESET_
            self.tell(NEWS_IN | NEWS_ERROR)

    def connected(self, bint is_refused=False):
        """The connect that is under way comes to its end."""
        if self.is_connecting and not self.is_closed:
            self.is_connecting = False
            self.broken = ECONNREFUSED_ if is_refused else 0
            self.io.err = self.broken
            self.tell(NEWS_CONNECT)

    def visit(self, str peer):
        """A client connects; its Line is the next of `Stage.guests`."""
        self.backlog.append(peer)
        self.tell(NEWS_IN)

    def take(self):
        """What the worker has sent since."""
        data = bytes(self.outbound)
        self.outbound.clear()
        return data

    # --- the kernel's side ---------------------------------------------------------------------------------------

    cdef void tell(self, int what):
        if not self.news:
            self.stage.news.append(self)
        self.news |= what

    cdef int send(self, const uint8_t *p, size_t n):
        """Bytes taken, or a negative errno. There is always room."""
        if self.broken or self.is_shut:
            return -(self.broken or EPIPE_)
        self.outbound += (<const char *>p)[:n]
        return <int>n

    cdef object receive(self, size_t n, bint peek):
        """Up to n bytes of one piece, END, or a negative errno."""
        if self.inbound:
            item = self.inbound[0]
            if item is END:
                return END
            if not peek:
                self.inbound.popleft()
                if len(item) > n:
                    self.inbound.appendleft(item[n:])
            return item[:n]
        return -(self.broken or EAGAIN_)


cdef class Stage:
    """The kernel of one worker."""
    cdef reactor_t *r                 # of the worker; NULL before and after it
    cdef readonly Line door           # where clients connect
    cdef readonly list guests         # clients that were accepted and that nobody has looked at
    cdef readonly list connects       # connects that have begun and that nobody has looked at
    cdef list news                    # lines that have some, in order
    cdef io_t *later                  # to be read again, linked as in io/poll_epoll
    cdef object error                 # of this file: raised by the next turn

    def __init__(self):
        self.guests = []
        self.connects = []
        self.news = []

    def hire(self):
        """A worker on this stage, with a door that is listener 0. It is to be closed before the stage goes."""
        global hiring
        cdef const engine_t *was = io_reactor.engine_epoll
        hiring = self
        io_reactor.engine_epoll = &IN_MEMORY
        try:
            worker = Worker("epoll", -1, -1, 0)
        finally:
            io_reactor.engine_epoll = was
            hiring = None
        fd = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)     # a number that can be set non-blocking
        self.door = Line(self, fd, "")
        worker.add_listener(0, fd)
        return worker

    # --- turns ---------------------------------------------------------------------------------------------------

    cdef reactor_t *alive(self) except NULL:
        if self.r is NULL:
            raise RuntimeError("the worker of this stage is closed")
        return self.r

    def turn(self):
        """One turn of the reactor, which takes no time."""
        self.go(0)

    def wait(self, uint64_t most_ns):
        """One turn that lasts until the next timer, at most so long. Returns how long it was, in ns."""
        cdef uint64_t begun = clock_ns
        self.go(most_ns)
        return clock_ns - begun

    cdef object go(self, uint64_t most_ns):
        global is_turning_now
        if is_turning_now:
            raise RuntimeError("a worker turns already: what runs within it, as filters do, cannot make one turn")
        is_turning_now = True
        try:
            reactor_turn(self.alive(), most_ns)
        finally:
            is_turning_now = False
        if self.error is not None:
            error, self.error = self.error, None
            raise error

    @property
    def is_busy(self):
        """Would another turn do anything, without time passing or news from a peer?"""
        cdef reactor_t *r = self.alive()
        return bool(self.news or self.later is not NULL or r.dirty is not NULL or r.gone is not NULL or
                    r.again is not NULL or r.soon is not NULL)

    @property
    def now_ns(self):
        return clock_ns

    def spent(self, int row):
        """Of a filter's row, over all phases: calls, ns, errors, overruns; and how many of its coroutines wait."""
        cdef filter_row_t *f
        calls = wall = errors = overruns = 0
        if not 0 <= row < STATS_FILTERS:
            raise IndexError(row)
        f = &self.alive().stats.filters[row]
        for i in range(PHASE_COUNT):
            calls += f.phases[i].calls
            wall += f.phases[i].wall_ns
            errors += f.phases[i].errors
            overruns += f.phases[i].overruns
        return calls, wall, errors, overruns, f.in_flight

    # --- the engine ----------------------------------------------------------------------------------------------

    cdef void fail(self, object error):
        if self.error is None:
            self.error = error

    cdef int add(self, io_t *io) except -1:
        cdef Line s = <Line>lines[io.fd]
        s.io = io
        s.stage = self
        return FM_OK

    cdef void forget(self, Line s):
        s.is_closed = True
        del lines[s.fd]
        s.io = NULL
        if s.fd < FIRST_FD:
            os.close(s.fd)

    cdef void begin_connect(self, Line s, const sockaddr *to, socklen_t n):
        cdef addr_t a
        cdef char text[ADDR_TEXT]
        if addr_from_sockaddr(&a, to, n) == FM_OK:
            s.peer = text[:addr_print(&a, text)].decode()
        s.is_connecting = True
        self.connects.append(s)

    cdef void read_later(self, io_t *io):
        if not io.flags & IO_IN_READY:
            io.flags |= IO_IN_READY
            io.ready_next = self.later
            self.later = io

    cdef void send(self, Line s):
        cdef io_t *io = s.io
        cdef slice_t *q
        cdef int rc
        while io.out_head is not NULL:
            q = io.out_head
            rc = s.send(q.ptr, q.len)
            if rc >= 0:
                io_sent(io, rc)
                continue
            if (io.flags & (IO_RX_WANT | IO_CLOSE_SENT)) == IO_RX_WANT:
                # What the peer has said before it went is read first.
                io.err = -rc
                io.flags |= IO_TX_BROKEN | IO_RX_READY | IO_RX_HUP_SEEN
                io_drop_queue(io)
                self.read_later(io)
            else:
                io_failed(io, -rc)
            return
        io_after_send(io)

    cdef void flush(self):
        cdef reactor_t *r = self.r
        cdef io_t *io
        while r.dirty is not NULL:
            io = r.dirty
            r.dirty = io.dirty_next
            if r.dirty is NULL:
                r.dirty_tail = NULL
            io.flags &= ~<uint32_t>IO_DIRTY
            if io.flags & IO_CLOSING:
                continue
            if io.flags & IO_CONNECTING:
                io_keep(io)
                continue
            self.send(<Line>lines[io.fd])
        scratch_reset(&r.scratch[0])

    cdef void read(self, Line s):
        cdef io_t *io = s.io
        cdef block_t *k
        cdef bytes piece
        cdef int turns = 0
        while (io.flags & (IO_RX_WANT | IO_CLOSING)) == IO_RX_WANT:
            if turns == READS:
                io.flags |= IO_RX_READY
                self.read_later(io)
                return
            turns += 1
            item = s.receive(BLOCK_LARGE, False)
            if item is END:
                if io.flags & IO_TX_BROKEN:
                    io_failed(io, io.err)
                    return
                io.flags |= IO_EOF
                io.flags &= ~<uint32_t>(IO_RX_READY | IO_RX_WANT)
                io.on.on_eof(io)
                return
            if isinstance(item, int):
                io.flags &= ~<uint32_t>IO_RX_READY
                if item != -EAGAIN_:
                    io_failed(io, -item)
                elif io.flags & IO_TX_BROKEN:
                    io_failed(io, io.err)
                return
            piece = item
            k = block_new(&self.r.blocks, BLOCK_LARGE)
            memcpy(k.bytes, <const char *>piece, len(piece))
            io.on.on_bytes(io, k.bytes, <uint32_t>len(piece), k)
            self.flush()
            block_put(k)
            if not io.flags & (IO_IN_READY | IO_CLOSING | IO_RX_HUP_SEEN):
                # Another piece counts as having come later: the next turn tells of it.
                io.flags &= ~<uint32_t>IO_RX_READY
                if s.inbound or s.broken:
                    s.tell(NEWS_IN)
                return

    cdef void accept(self, Line s):
        cdef Line guest
        cdef io_t *io = s.io
        while io.flags & IO_RX_WANT and s.backlog:
            guest = new_line(self, s.backlog.popleft())
            self.guests.append(guest)
            io.on.on_accept(io, guest.fd)
            self.flush()
        if not s.backlog:
            io.flags &= ~<uint32_t>IO_RX_READY

    cdef void hangup(self, Line s):
        if s.io is not NULL and s.broken and (s.io.flags & (IO_HANGUP | IO_RX_WANT | IO_CLOSING)) == IO_HANGUP:
            io_failed(s.io, s.broken)
            self.flush()

    cdef void event(self, Line s, int news):
        cdef io_t *io = s.io
        if io is NULL or io.flags & IO_CLOSING:
            return
        if io.flags & IO_LISTEN:
            io.flags |= IO_RX_READY
            self.accept(s)
            return
        if io.flags & IO_CONNECTING:
            if not news & NEWS_CONNECT:
                return
            io.flags &= ~<uint32_t>IO_CONNECTING
            io.on.on_connect(io, io.err)
            self.flush()
            if io.flags & IO_CLOSING:
                return
        if news & (NEWS_IN | NEWS_ERROR):
            io.flags |= IO_RX_READY
            if s.broken or END in s.inbound:
                io.flags |= IO_RX_HUP_SEEN
            if io.flags & IO_RX_WANT:
                self.read(s)
                self.flush()
            if news & NEWS_ERROR:
                self.hangup(s)

    cdef void run(self, uint64_t wait_ns):
        global clock_ns
        cdef Line s
        cdef io_t *io
        cdef io_t *again
        self.flush()
        if not self.news and self.later is NULL:
            clock_ns += wait_ns
        self.r.now_ns = clock_ns
        news, self.news = self.news, []
        for s in news:
            what = s.news
            s.news = 0
            self.event(s, what)
        again = self.later
        self.later = NULL
        while again is not NULL:
            io = again
            again = io.ready_next
            io.flags &= ~<uint32_t>IO_IN_READY
            if io.flags & IO_CLOSING:
                io_gone(io)
                continue
            s = lines[io.fd]
            if io.flags & IO_LISTEN:
                self.accept(s)
            elif io.flags & IO_RX_WANT:
                self.read(s)
            self.flush()
            if io.flags & IO_RX_HUP_SEEN:
                self.hangup(s)


cdef Line new_line(Stage stage, str peer):
    global next_fd
    next_fd = next_fd + 1 if next_fd < 0x7FFFFFFE else FIRST_FD
    return Line(stage, next_fd, peer)


# --- the tables --------------------------------------------------------------------------------------------------

cdef engine_t IN_MEMORY
cdef socket_calls_t CALLS


cdef int _open(reactor_t *r) noexcept with gil:
    r.state = <void *>hiring
    hiring.r = r
    Py_INCREF(hiring)
    return FM_OK


cdef void _close(reactor_t *r) noexcept with gil:
    stage = <Stage>r.state
    stage.r = NULL
    for s in list(lines.values()):
        if (<Line>s).stage is stage:
            stage.forget(s)
    Py_DECREF(stage)


cdef int _add(reactor_t *r, io_t *io) noexcept with gil:
    return (<Stage>r.state).add(io)


cdef void _rx(reactor_t *r, io_t *io) noexcept with gil:
    if io.flags & IO_RX_WANT and io.flags & IO_RX_READY:
        (<Stage>r.state).read_later(io)


cdef void _listen(reactor_t *r, io_t *io, bint on) noexcept with gil:
    if on:
        io.flags |= IO_RX_WANT | IO_RX_READY
        (<Stage>r.state).read_later(io)
    else:
        io.flags &= ~<uint32_t>IO_RX_WANT


cdef void _connect(reactor_t *r, io_t *io, const sockaddr *to, socklen_t n) noexcept with gil:
    (<Stage>r.state).begin_connect(<Line>lines[io.fd], to, n)


cdef void _watch(reactor_t *r, io_t *io) noexcept with gil:
    (<Stage>r.state).fail(RuntimeError("a stage has no tunnels and no TCP: use a real proxy for that"))


cdef void _drop(reactor_t *r, io_t *io) noexcept with gil:
    (<Stage>r.state).forget(<Line>lines[io.fd])
    io.fd = -1
    if not io.flags & IO_IN_READY:
        io_gone(io)


cdef void _turn(reactor_t *r, uint64_t wait_ns) noexcept with gil:
    try:
        (<Stage>r.state).run(wait_ns)
    except BaseException as error:
        (<Stage>r.state).fail(error)


cdef uint64_t _now() noexcept nogil:
    return clock_ns


IN_MEMORY.name = b"memory"
IN_MEMORY.kind = ENGINE_EPOLL
IN_MEMORY.open = _open
IN_MEMORY.close = _close
IN_MEMORY.add = _add
IN_MEMORY.rx = _rx
IN_MEMORY.listen = _listen
IN_MEMORY.connect = _connect
IN_MEMORY.watch = _watch
IN_MEMORY.drop = _drop
IN_MEMORY.turn = _turn
IN_MEMORY.now = _now
IN_MEMORY.calls = &CALLS


cdef int _call_socket(int domain, int kind, int protocol) noexcept with gil:
    return new_line(None, "").fd


cdef int _call_accept(int fd, int flags) noexcept with gil:
    c_errno.errno = EAGAIN_
    return -1


cdef int _call_peer(int fd, sockaddr_storage *to, socklen_t *n) noexcept with gil:
    cdef addr_t a
    cdef bytes text = (<Line>lines[fd]).peer.encode()
    if addr_parse(&a, text, len(text)) == FM_OK:
        n[0] = addr_to_sockaddr(&a, to)
        return 0
    c_errno.errno = ENOTCONN_
    return -1


cdef int _call_setsockopt(int fd, int level, int name, const void *value, socklen_t n) noexcept with gil:
    if level == SOL_SOCKET and name == SO_LINGER:
        (<Line>lines[fd]).was_reset = True
    return 0


cdef int _call_getsockopt(int fd, int level, int name, void *value, socklen_t *n) noexcept with gil:
    (<int *>value)[0] = (<Line>lines[fd]).broken
    return 0


cdef ssize_t _call_recv(int fd, void *to, size_t n, int flags) noexcept with gil:
    cdef int err
    cdef const char *p
    item = (<Line>lines[fd]).receive(n, flags & MSG_PEEK != 0)
    if item is END:
        return 0
    if isinstance(item, bytes):
        p = item
        memcpy(to, p, len(item))
        return len(item)
    err = -item
    c_errno.errno = err
    return -1


cdef ssize_t _call_send(int fd, const void *what, size_t n, int flags) noexcept with gil:
    cdef int rc = (<Line>lines[fd]).send(<const uint8_t *>what, n)
    if rc >= 0:
        return rc
    c_errno.errno = -rc
    return -1


cdef ssize_t _call_splice(int fd_in, int fd_out, size_t n, unsigned int flags) noexcept nogil:
    c_errno.errno = EOPNOTSUPP_
    return -1


cdef int _call_unsent(int fd) noexcept nogil:
    return 0


cdef int _call_shutdown(int fd, int how) noexcept with gil:
    if how == SHUT_WR:
        (<Line>lines[fd]).is_shut = True
    return 0


cdef int _call_close(int fd) noexcept with gil:
    cdef Line s = <Line>lines[fd]
    s.stage.forget(s)
    return 0


CALLS.socket = _call_socket
CALLS.accept = _call_accept
CALLS.peer = _call_peer
CALLS.setsockopt = _call_setsockopt
CALLS.getsockopt = _call_getsockopt
CALLS.recv = _call_recv
CALLS.send = _call_send
CALLS.splice = _call_splice
CALLS.unsent = _call_unsent
CALLS.shutdown = _call_shutdown
CALLS.close = _call_close


def is_turning():
    """The caller is called from within a turn."""
    return is_turning_now


def left():
    """Of what workers of this process hold outside of themselves: heads that were changed, and snapshots."""
    return {"heads": heads_live(), "snapshots": snapshot_live()}
