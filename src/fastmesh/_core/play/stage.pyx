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
from fastmesh._core.io cimport reactor as io_reactor
from fastmesh._core.io.reactor cimport (
    ENGINE_EPOLL, IO_CLOSING, IO_CONNECTING, IO_END, IO_EOF, IO_FIRST, IO_IN_READY, IO_LISTEN, IO_RX_HUP_SEEN,
    IO_RX_READY, IO_RX_WANT, IO_TX_BROKEN, IO_TX_WAIT, IO_WATCH, engine_t, io_after_send, io_failed, io_gone, io_keep,
    io_look_for_end, io_read_later, io_send_failed, io_sent, io_t, io_take_dirty, reactor_t, reactor_turn,
    scratch_reset, scratch_t, slice_t, socket_calls_t)
from fastmesh._core.mem.block cimport BLOCK_LARGE, block_new, block_put, block_t
from fastmesh._core.mem.counter cimport G_ACCEPT_FAILED, G_SENDS_SHORT, PHASE_COUNT, STATS_FILTERS, filter_row_t
from fastmesh._core.mem.fault cimport FM_OK
from fastmesh._core.net.addr cimport ADDR_TEXT, addr_from_sockaddr, addr_parse, addr_print, addr_t, addr_to_sockaddr
from fastmesh._core.http.edit cimport heads_live
from fastmesh._core.snapshot.snapshot cimport snapshot_live
from fastmesh._core.sys.errno_sys cimport EAGAIN, ECONNREFUSED, ECONNRESET, EMFILE, ENOTCONN, EOPNOTSUPP, EPIPE
from fastmesh._core.sys.socket cimport (
    MSG_PEEK, SHUT_WR, SO_ERROR, SO_LINGER, SOL_SOCKET, sockaddr, sockaddr_storage, socklen_t)
from fastmesh._core.worker import Worker

cdef enum:
    FIRST_FD = 0x40000000     # numbers that no descriptor of this process has
    EVENTS = 256              # as in io/poll_epoll
    READS = 8
    IOVS = 64

cdef dict lines = {}          # descriptor -> Line, while it is open
cdef int next_fd = FIRST_FD
clock_ns = 1000 * 1000000000
cdef Stage hiring = None
cdef list stages = []         # those with a worker; last the one that was hired or has turned last
cdef bint is_turning_now = False      # of any stage: what filters wait for belongs to one worker at a time


cdef class Line:
    """What the worker has a descriptor for, seen from its other end."""

    def __cinit__(self, Stage stage, str role, str peer, int fd):
        self.stage = stage
        self.fd = fd
        self.role = role
        self.peer = peer
        self.inbound = deque()
        self.backlog = deque()
        self.outbound = bytearray()
        lines[fd] = self

    # --- what the other end does ---------------------------------------------------------------------------------

    def feed(self, bytes piece):
        """Bytes arrive, in one piece."""
        self.append(piece)

    def end(self):
        """Sends no more."""
        self.hang_up()

    def reset(self):
        """Is gone."""
        self.fail(ECONNRESET)

    def connected(self, bint is_refused=False):
        """The connect that is under way comes to its end."""
        if self.is_connecting and not self.is_closed:
            self.decide(ECONNREFUSED if is_refused else 0)

    def visit(self, str peer):
        """A client connects; its Line is the next of `Stage.guests`."""
        self.backlog.append(peer)
        self.stage.tell(self, NEWS_IN)

    def take(self):
        """What the worker has sent since."""
        data = bytes(self.outbound)
        self.outbound.clear()
        return data

    cdef bint is_over(self):
        """Whoever has ended or is gone says no more."""
        return self.is_closed or self.has_ended or self.broken != 0

    cdef void append(self, bytes piece):
        if piece and not self.is_over():
            self.inbound.append(piece)
            self.stage.tell(self, NEWS_IN)

    cdef void hang_up(self):
        if not self.is_over():
            self.has_ended = True
            self.stage.tell(self, NEWS_IN)

    cdef void fail(self, int err):
        """What has arrived before is received first. Who waits for room in the send buffer hears of it too."""
        if not self.is_closed and not self.broken:
            self.broken = err
            self.stage.tell(self, NEWS_IN | NEWS_OUT | NEWS_ERROR)

    cdef void decide(self, int err):
        self.is_connecting = False
        self.broken = err
        self.io.err = err
        self.stage.tell(self, NEWS_CONNECT | NEWS_OUT)

    # --- the kernel's side ---------------------------------------------------------------------------------------

    cdef bint is_first(self):
        return self.io is not NULL and self.io.flags & IO_FIRST != 0

    cdef bint is_readable(self):
        return bool(self.inbound) or self.has_ended or self.broken != 0

    cdef int send(self, const uint8_t *p, size_t n):
        """Bytes taken, or a negative errno. There is always room."""
        if self.broken or self.is_shut:
            return -(self.broken or EPIPE)
        self.outbound += (<const char *>p)[:n]
        return <int>n

    cdef object receive(self, size_t n, bint peek):
        """Up to n bytes of one piece, none at the end of all, or a negative errno."""
        if self.inbound:
            item = self.inbound[0]
            if not peek:
                self.inbound.popleft()
                if len(item) > n:
                    self.inbound.appendleft(item[n:])
            return item[:n]
        if self.has_ended:
            return b""
        return -(self.broken or EAGAIN)

    cdef void shut(self):
        self.is_shut = True


cdef class Stage:
    """The kernel of one worker."""

    def __init__(self):
        self.guests = []
        self.connects = []
        self.news = []
        self.batch_most = EVENTS

    def hire(self):
        """A worker on this stage, with a door that is listener 0. It is to be closed before the stage goes."""
        global hiring
        cdef const engine_t *was = io_reactor.engine_epoll
        hiring = self
        io_reactor.engine_epoll = self.engine()
        try:
            worker = Worker("epoll", -1, -1, 0)
        finally:
            io_reactor.engine_epoll = was
            hiring = None
        self.door = self.open_door(worker, 0)
        return worker

    def open_door(self, worker, int number):
        """Where clients connect to listener `number` of the worker."""
        fd = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)     # a number that can be set non-blocking
        door = self.new_line("door", "", fd)
        worker.add_listener(number, fd)
        return door

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
        self.check()

    def check(self):
        """Raises what went wrong in the stage itself."""
        if self.error is not None:
            error, self.error = self.error, None
            raise error

    cdef bint has_work(self):
        cdef reactor_t *r = self.alive()
        return bool(self.news) or self.later is not NULL or r.dirty is not NULL or r.gone is not NULL or (
            r.again is not NULL or r.soon is not NULL)

    @property
    def is_busy(self):
        """Would another turn do anything, without time passing or news from a peer?"""
        return self.has_work()

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

    # --- where kernels differ ------------------------------------------------------------------------------------

    cdef const engine_t *engine(self):
        return &IN_MEMORY

    cdef Line new_line(self, str role, str peer, int fd):
        return Line(self, role, peer, fd)

    cdef bint has_descriptors(self):
        return True

    cdef void tell(self, Line s, int what):
        if not s.news:
            self.news.append(s)
        s.news |= what

    cdef void forget(self, Line s):
        s.is_closed = True
        del lines[s.fd]
        s.io = NULL
        if s.fd < FIRST_FD:
            os.close(s.fd)

    cdef void put_block(self, block_t *k):
        """Gives back the engine's reference."""
        block_put(k)

    cdef void reset_scratch(self, scratch_t *s):
        scratch_reset(s)

    cdef ssize_t splice(self, Line s, int fd_in, int fd_out, size_t n):
        """Between a line and a pipe. Bytes moved, or a negative errno."""
        return -EOPNOTSUPP

    cdef void watch(self, io_t *io):
        raise RuntimeError("a stage has no tunnels and no TCP: use a real proxy for that")

    cdef void watched(self, Line s, int news):
        """News of a line of which not bytes are reported, but readiness."""

    # --- the engine ----------------------------------------------------------------------------------------------

    cdef void fail(self, object error):
        if self.error is None:
            self.error = error

    cdef int add(self, io_t *io):
        cdef Line s = line_of(io)
        s.io = io
        s.stage = self
        return FM_OK

    cdef void rx(self, io_t *io):
        if io.flags & IO_RX_WANT and io.flags & IO_RX_READY:
            io_read_later(io, &self.later)

    cdef void listen(self, io_t *io, bint on):
        if on:
            io.flags |= IO_RX_WANT | IO_RX_READY
            io_read_later(io, &self.later)
        else:
            io.flags &= ~<uint32_t>IO_RX_WANT

    cdef void connect(self, io_t *io, const sockaddr *to, socklen_t n):
        cdef Line s = line_of(io)
        cdef addr_t a
        cdef char text[ADDR_TEXT]
        if addr_from_sockaddr(&a, to, n) == FM_OK:
            s.peer = text[:addr_print(&a, text)].decode()
        s.is_connecting = True
        self.connects.append(s)

    cdef void drop(self, io_t *io):
        self.forget(line_of(io))
        io.fd = -1
        if not io.flags & IO_IN_READY:
            io_gone(io)

    cdef void send(self, Line s):
        cdef io_t *io = s.io
        cdef slice_t *q
        cdef uint32_t n, total, sent
        cdef int rc
        while io.out_head is not NULL:
            # As one call: so many pieces at a time, and one look at how it went.
            q = io.out_head
            n = total = sent = 0
            rc = 0
            while q is not NULL and n < IOVS:
                rc = s.send(q.ptr, q.len)
                total += q.len
                if rc > 0:
                    sent += rc
                if rc < <int>q.len:
                    break
                n += 1
                q = q.next
            if sent == 0 and rc < 0 and rc != -EAGAIN:
                if io_send_failed(io, -rc):
                    io_read_later(io, &self.later)
                return
            if sent > 0:
                io_sent(io, sent)
            if sent == 0 or sent < total:
                break
        if io.out_head is not NULL:
            self.r.stats.globals[G_SENDS_SHORT] += 1
            io.flags |= IO_TX_WAIT
            io_keep(io)
        io_after_send(io)

    cdef void flush(self):
        cdef reactor_t *r = self.r
        cdef io_t *io
        while True:
            io = io_take_dirty(r)
            if io is NULL:
                break
            if io.flags & IO_CLOSING:
                continue
            if io.flags & (IO_TX_WAIT | IO_CONNECTING):
                io_keep(io)
                continue
            self.send(line_of(io))
        self.reset_scratch(&r.scratch[0])

    cdef void read(self, Line s):
        cdef io_t *io = s.io
        cdef block_t *k
        cdef int turns = 0
        while (io.flags & (IO_RX_WANT | IO_CLOSING | IO_WATCH)) == IO_RX_WANT:
            if turns == READS:
                io.flags |= IO_RX_READY
                io_read_later(io, &self.later)
                return
            turns += 1
            item = s.receive(BLOCK_LARGE, False)
            if isinstance(item, int):
                io.flags &= ~<uint32_t>IO_RX_READY
                if item != -EAGAIN:
                    io_failed(io, -item)
                elif io.flags & IO_TX_BROKEN:
                    io_failed(io, io.err)
                return
            if not item and io.flags & IO_TX_BROKEN:
                io_failed(io, io.err)
                return
            if not item:
                io.flags |= IO_EOF
                io.flags &= ~<uint32_t>(IO_RX_READY | IO_RX_WANT)
                io.on.on_eof(io)
                return
            k = block_new(&self.r.blocks, BLOCK_LARGE)
            deliver(io, k, item)
            self.flush()
            self.put_block(k)
            if len(item) < BLOCK_LARGE and not io.flags & (IO_IN_READY | IO_CLOSING | IO_RX_HUP_SEEN):
                # Another piece counts as having come later: the next turn tells of it.
                io.flags &= ~<uint32_t>IO_RX_READY
                if s.is_readable():
                    self.tell(s, NEWS_IN)
                return

    cdef void accept(self, Line s):
        cdef Line guest
        cdef io_t *io = s.io
        while (io.flags & (IO_RX_WANT | IO_CLOSING)) == IO_RX_WANT:
            if not s.backlog:
                io.flags &= ~<uint32_t>IO_RX_READY
                return
            if not self.has_descriptors():
                self.r.stats.globals[G_ACCEPT_FAILED] += 1
                io.flags &= ~<uint32_t>IO_RX_WANT
                io.flags |= IO_RX_READY
                io.on.on_accept(io, -EMFILE)
                return
            guest = self.new_line("client", s.backlog.popleft(), fresh_fd())
            self.guests.append(guest)
            io.on.on_accept(io, guest.fd)
            self.flush()

    cdef void hangup(self, Line s):
        if s.io is not NULL and io_look_for_end(s.io, s.broken != 0):
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
        if io.flags & IO_WATCH:
            self.watched(s, news)
            return
        if news & NEWS_OUT and io.flags & IO_TX_WAIT:
            io.flags &= ~<uint32_t>IO_TX_WAIT
            self.send(s)
            self.flush()
            if io.flags & IO_CLOSING:
                return
        if news & (NEWS_IN | NEWS_ERROR):
            io.flags |= IO_RX_READY
            if s.broken or s.has_ended:
                io.flags |= IO_RX_HUP_SEEN
            if io.flags & IO_RX_WANT:
                self.read(s)
                self.flush()
            if news & NEWS_ERROR or (s.has_ended and io.flags & IO_END):
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
        news, self.news = self.news[:self.batch_most], self.news[self.batch_most:]
        # As in io/poll_epoll: idle connections to endpoints first.
        for s in [s for s in news if (<Line>s).is_first()] + [s for s in news if not (<Line>s).is_first()]:
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
            s = line_of(io)
            if io.flags & IO_LISTEN:
                self.accept(s)
            elif io.flags & IO_CONNECTING:
                # The connect call itself has decided it.
                io.flags &= ~<uint32_t>(IO_CONNECTING | IO_RX_READY)
                s.is_connecting = False
                io.on.on_connect(io, io.err)
            elif io.flags & IO_RX_WANT:
                self.read(s)
            self.flush()
            if io.flags & IO_RX_HUP_SEEN:
                self.hangup(s)


cdef Line line_of(io_t *io):
    return <Line>lines[io.fd]


cdef int fresh_fd():
    global next_fd
    next_fd = next_fd + 1 if next_fd < 0x7FFFFFFE else FIRST_FD
    return next_fd


cdef void deliver(io_t *io, block_t *k, bytes piece):
    cdef uint32_t n = <uint32_t>len(piece)
    cdef const char *p = piece
    memcpy(k.bytes + k.cap - n, p, n)
    io.on.on_bytes(io, k.bytes + k.cap - n, n, k)


# --- the tables --------------------------------------------------------------------------------------------------

cdef socket_calls_t CALLS


cdef int _open(reactor_t *r) noexcept with gil:
    r.state = <void *>hiring
    hiring.r = r
    stages.append(hiring)
    return FM_OK


cdef void _close(reactor_t *r) noexcept with gil:
    stage = <Stage>r.state
    stage.r = NULL
    for s in list(lines.values()):
        if (<Line>s).stage is stage:
            stage.forget(s)
    stages.remove(stage)


cdef int _add(reactor_t *r, io_t *io) noexcept with gil:
    return (<Stage>r.state).add(io)


cdef void _rx(reactor_t *r, io_t *io) noexcept with gil:
    try:
        (<Stage>r.state).rx(io)
    except BaseException as error:
        (<Stage>r.state).fail(error)


cdef void _listen(reactor_t *r, io_t *io, bint on) noexcept with gil:
    try:
        (<Stage>r.state).listen(io, on)
    except BaseException as error:
        (<Stage>r.state).fail(error)


cdef void _connect(reactor_t *r, io_t *io, const sockaddr *to, socklen_t n) noexcept with gil:
    try:
        (<Stage>r.state).connect(io, to, n)
    except BaseException as error:
        (<Stage>r.state).fail(error)


cdef void _watch(reactor_t *r, io_t *io) noexcept with gil:
    try:
        (<Stage>r.state).watch(io)
    except BaseException as error:
        (<Stage>r.state).fail(error)


cdef void _drop(reactor_t *r, io_t *io) noexcept with gil:
    try:
        (<Stage>r.state).drop(io)
    except BaseException as error:
        (<Stage>r.state).fail(error)


cdef void _turn(reactor_t *r, uint64_t wait_ns) noexcept with gil:
    stage = <Stage>r.state
    if stages[len(stages) - 1] is not stage:
        stages.remove(stage)
        stages.append(stage)
    try:
        stage.run(wait_ns)
    except BaseException as error:
        stage.fail(error)


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


cdef ssize_t _said(ssize_t rc) noexcept:
    """What a call returns, with errno."""
    cdef int err
    if rc >= 0:
        return rc
    err = <int>-rc
    c_errno.errno = err
    return -1


cdef int _call_socket(int domain, int kind, int protocol) noexcept with gil:
    stage = <Stage>stages[len(stages) - 1]
    if not stage.has_descriptors():
        return <int>_said(-EMFILE)
    return stage.new_line("upstream", "", fresh_fd()).fd


cdef int _call_accept(int fd, int flags) noexcept with gil:
    cdef Line s = <Line>lines[fd]
    if not s.backlog:
        return <int>_said(-EAGAIN)
    return s.stage.new_line("client", s.backlog.popleft(), fresh_fd()).fd


cdef int _call_peer(int fd, sockaddr_storage *to, socklen_t *n) noexcept with gil:
    cdef addr_t a
    cdef bytes text = (<Line>lines[fd]).peer.encode()
    if addr_parse(&a, text, len(text)) == FM_OK:
        n[0] = addr_to_sockaddr(&a, to)
        return 0
    return <int>_said(-ENOTCONN)


cdef int _call_setsockopt(int fd, int level, int name, const void *value, socklen_t n) noexcept with gil:
    if level == SOL_SOCKET and name == SO_LINGER:
        (<Line>lines[fd]).was_reset = True
    else:
        (<Line>lines[fd]).has_nodelay = True
    return 0


cdef int _call_getsockopt(int fd, int level, int name, void *value, socklen_t *n) noexcept with gil:
    assert level == SOL_SOCKET and name == SO_ERROR
    (<int *>value)[0] = (<Line>lines[fd]).broken
    return 0


cdef ssize_t _call_recv(int fd, void *to, size_t n, int flags) noexcept with gil:
    cdef const char *p
    item = (<Line>lines[fd]).receive(n, flags & MSG_PEEK != 0)
    if isinstance(item, int):
        return _said(item)
    p = item
    memcpy(to, p, len(item))
    return len(item)


cdef ssize_t _call_send(int fd, const void *what, size_t n, int flags) noexcept with gil:
    return _said((<Line>lines[fd]).send(<const uint8_t *>what, n))


cdef ssize_t _call_splice(int fd_in, int fd_out, size_t n, unsigned int flags) noexcept with gil:
    cdef Line s = <Line>lines[fd_in if fd_in in lines else fd_out]
    try:
        return _said(s.stage.splice(s, fd_in, fd_out, n))
    except BaseException as error:
        s.stage.fail(error)
    return _said(-EPIPE)


cdef int _call_unsent(int fd) noexcept nogil:
    """Who is at the other end takes at once what this kernel takes."""
    return 0


cdef int _call_shutdown(int fd, int how) noexcept with gil:
    if how == SHUT_WR:
        (<Line>lines[fd]).shut()
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
