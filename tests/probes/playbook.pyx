"""A reactor engine whose kernel is the test: no descriptors, no waiting, a clock that moves only when told to.

The stage stands in for the kernel. A test puts events on it (bytes from a peer, an end, a refusal, room in a send
buffer), runs turns of the reactor, and looks at what the proxy has done to its sockets. Two sets of manners:

*ready* has those of io/poll_epoll: readiness is told, calls are made then, a send is done when flush returns.
*completion* has those of io/poll_uring: what was under way is delivered although receiving was switched off since,
sends are settled only at the end of a turn, receives that were called off end later, bulk comes one piece at a time.

Memory that must not be looked at any more (scratch memory after its flush, a receive block that nobody kept) is
overwritten, so that a late look shows in the bytes that a peer gets.
"""
import os
from collections import deque

from libc cimport errno as c_errno
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset
from fastmesh._core.io cimport reactor as io_reactor
from fastmesh._core.io.reactor cimport (
    ENGINE_EPOLL, ENGINE_URING, IO_BULK, IO_CLOSE_SENT, IO_CLOSING, IO_CONNECTING, IO_DIRTY, IO_EOF, IO_FAILED, IO_FIRM,
    IO_FIRST, IO_FLUSHING, IO_HANGUP, IO_HANGUP_POLL, IO_IN_READY, IO_LISTEN, IO_POLLING, IO_RX_ARMED, IO_RX_BULK,
    IO_RX_CANCEL, IO_RX_HUP_SEEN, IO_RX_READY, IO_RX_WANT, IO_SHUT_WANT, IO_TX_BROKEN, IO_TX_POLL, IO_TX_WAIT,
    IO_WATCH, READY_HUP, READY_IN, READY_OUT, SCRATCH_CHUNK, engine_t,
    io_after_send, io_again, io_drop_queue, io_failed, io_gone, io_keep, io_mark_dirty, io_sent, io_t, reactor_t,
    reactor_turn, scratch_reset, scratch_t, slice_t, socket_calls_t)
from fastmesh._core.mem.block cimport BLOCK_LARGE, BLOCK_SMALL, block_new, block_put, block_t
from fastmesh._core.mem.counter cimport (
    G_ACCEPT_FAILED, G_COUNT, G_SENDS_SHORT, STATS_LOG_BYTES, STATS_SERIES, log_ring_t)
from fastmesh._core.mem.counter import FILTER_PHASES, GLOBALS
from fastmesh._core.mem.fault cimport FM_OK
from fastmesh._core.net.addr cimport ADDR_TEXT, addr_from_sockaddr, addr_parse, addr_print, addr_t, addr_to_sockaddr
from fastmesh._core.http.edit cimport heads_live
from fastmesh._core.snapshot.snapshot cimport snapshot_live
from fastmesh._core.sys.socket cimport (
    MSG_PEEK, SHUT_WR, SO_ERROR, SO_LINGER, SOL_SOCKET, sockaddr, sockaddr_storage, socklen_t)

cdef extern from "<errno.h>" nogil:
    int EMFILE_ "EMFILE"
    int EAGAIN_ "EAGAIN"
    int ENOTCONN_ "ENOTCONN"

cdef enum:
    FIRST_FD = 1000000        # numbers that no descriptor of this process has
    READS = 8                 # as in io/poll_epoll
    IOVS = 64
    BURST = 32                # results of one receive before others get their turn (MULTISHOT_MAX_RETRY of the kernel)
    TX_SILENT = 0x40000000    # as in io/poll_uring
    NEWS_IN = 1
    NEWS_OUT = 2
    NEWS_CONNECT = 4
    NEWS_ERROR = 8
    MULTISHOT = 1
    BULK = 2

EAGAIN, EPIPE, EMFILE, ECANCELED, ENOENT, EALREADY, ECONNRESET = 11, 32, 24, 125, 2, 114, 104

# What stands in a receive queue besides bytes.
END = "end"


cdef class Socket:
    """What the proxy has a descriptor for, and the peer behind it."""
    cdef io_t *io                     # NULL before engine.add and after the close
    cdef Stage stage
    cdef readonly int fd
    cdef readonly str role            # "client", "upstream" or "door"
    cdef readonly str peer            # its address
    cdef readonly bytearray wire      # all that the proxy has sent
    cdef public int seen              # how much of that the test has looked at
    cdef public object room           # bytes that the send buffer takes; None = any number
    cdef readonly object inbound      # receive queue: bytes, END, or an errno
    cdef readonly bint is_connecting
    cdef readonly bint was_connecting
    cdef readonly bint was_shut       # the proxy has closed its sending side
    cdef readonly bint was_reset      # closed with RST
    cdef readonly bint is_closed
    cdef readonly bint has_nodelay
    cdef readonly int broken          # errno of every further call
    cdef object backlog               # of a door: addresses of who waits
    cdef int news                     # ready
    cdef int armed                    # completion: 0, MULTISHOT or BULK
    cdef int burst                    # completion: results since the last enter
    cdef bint room_polled             # completion: a poll for room is in the kernel
    cdef bint hangup_polled           # completion: a poll for a reset is in the kernel
    cdef list sending                 # completion: (address, length) of what a submitted send refers to

    def __cinit__(self, Stage stage, int fd, str role, str peer):
        self.stage = stage
        self.fd = fd
        self.role = role
        self.peer = peer
        self.wire = bytearray()
        self.inbound = deque()
        self.backlog = deque()
        self.sending = []

    def __repr__(self):
        return f"<{self.role} {self.fd - FIRST_FD if self.fd >= FIRST_FD else self.fd} {self.peer}>"

    @property
    def is_receiving(self):
        return self.io is not NULL and self.io.flags & IO_RX_WANT != 0

    @property
    def is_bulk(self):
        return self.io is not NULL and self.io.flags & IO_BULK != 0

    @property
    def queued(self):
        """Bytes that wait in the proxy for room."""
        return self.io.out_bytes if self.io is not NULL else 0

    # --- what the peer does ----------------------------------------------------------------------

    def feed(self, *what):
        """Bytes, END or an errno (of a broken connection) arrive."""
        for item in what:
            assert not self.is_closed, f"{self} is closed: nothing arrives there"
            self.stage.say(self, "sends", item)
            if isinstance(item, int):
                self.broken = item
                self.stage.on_break(self)
            self.stage.on_arrival(self, item)

    def connect_done(self, int err=0):
        assert self.is_connecting, f"{self} is not connecting"
        self.stage.say(self, "connect", err)
        self.is_connecting = False
        self.stage.on_connect(self, err)

    def take(self, n):
        """The peer reads: room for n bytes more, None = for any number."""
        self.stage.say(self, "reads", n)
        self.room = None if n is None or self.room is None else self.room + n
        self.stage.on_room(self)

    def come(self, str peer):
        """At a door: a client connects."""
        self.stage.say(self, "is visited by", peer)
        self.backlog.append(peer)
        self.stage.on_visit(self)

    # --- the kernel's side of calls --------------------------------------------------------------

    cdef int send(self, const uint8_t *p, size_t n):
        """Bytes taken, or a negative errno."""
        cdef size_t taken = n
        if self.broken:
            return -self.broken
        if self.was_shut:
            return -EPIPE
        if self.room is not None:
            taken = min(n, self.room)
            self.room -= taken
        if taken == 0 and n > 0:
            return -EAGAIN
        self.wire += (<const char *>p)[:taken]
        self.stage.say(self, "gets", bytes((<const char *>p)[:taken]))
        return <int>taken

    cdef object receive(self, size_t n, bint peek):
        """Up to n bytes of one piece, END, a negative errno."""
        if not self.inbound:
            return -EAGAIN
        item = self.inbound[0]
        if isinstance(item, int):
            return -item
        if item is END:
            return END
        if not peek:
            self.inbound.popleft()
            if len(item) > n:
                self.inbound.appendleft(item[n:])
        return item[:n]


cdef class Stage:
    """The kernel of one test. Only one at a time is up."""
    cdef reactor_t *r
    cdef readonly bint is_completion
    cdef readonly list sockets        # all there ever were
    cdef dict by_fd
    cdef readonly list trace
    cdef public object error          # of the stage itself: raised by the next turn
    cdef public bint no_descriptors
    cdef public dict at_once          # address -> errno: connects that are decided by the call itself
    cdef public int cancels_missed    # completion: so many cancels do not find what they are to cancel
    cdef list news                    # ready: sockets with news, in order
    cdef public int batch_most        # ready: so many of them are told in one turn
    cdef io_t *later                  # ready: to be read again, linked as in io/poll_epoll
    cdef list submitted               # completion: (what, socket, argument)
    cdef list arrived                 # completion: (tag, socket, result, more) since the last enter
    cdef list requeued                # completion: receives that go on in the next enter
    cdef list flushed
    cdef bint settle_soon
    cdef int next_fd

    def __init__(self, str manners):
        assert manners in ("ready", "completion")
        self.is_completion = manners == "completion"
        self.sockets = []
        self.by_fd = {}
        self.trace = []
        self.at_once = {}
        self.news = []
        self.batch_most = 256
        self.submitted = []
        self.arrived = []
        self.flushed = []
        self.requeued = []
        self.next_fd = FIRST_FD

    def __enter__(self):
        """From here on an "epoll" reactor is one on this stage."""
        global the_stage, clock_ns, replaced
        assert the_stage is None
        the_stage = self
        clock_ns = 1000 * 10**9 + 12345
        SCRIPTED.kind = ENGINE_URING if self.is_completion else ENGINE_EPOLL
        replaced = io_reactor.engine_epoll
        io_reactor.engine_epoll = &SCRIPTED
        return self

    def __exit__(self, *exc):
        global the_stage
        io_reactor.engine_epoll = replaced
        the_stage = None

    cdef Socket new_socket(self, str role, str peer):
        cdef Socket s = Socket(self, self.next_fd, role, peer)
        self.next_fd += 1
        self.sockets.append(s)
        self.by_fd[s.fd] = s
        return s

    def say(self, who, what, about):
        self.trace.append((clock_ns, who, what, about))

    def fail(self, error):
        if self.error is None:
            self.error = error

    # --- turns -----------------------------------------------------------------------------------

    def turn(self):
        """One turn of the reactor, which takes no time."""
        reactor_turn(self.r, 0)
        self.check()

    def check(self):
        if self.error is not None:
            error, self.error = self.error, None
            raise error

    @property
    def is_busy(self):
        """Would another turn do anything without time passing or news from a peer?"""
        return bool(self.news or self.later is not NULL or self.submitted or self.arrived or self.flushed or
                    self.requeued or self.r.dirty is not NULL or self.r.gone is not NULL or self.r.again is not NULL or
                    self.r.soon is not NULL)

    @property
    def now_ns(self):
        return clock_ns

    # --- what can be read off --------------------------------------------------------------------

    def counters(self):
        return {GLOBALS[i]: self.r.stats.globals[i] for i in range(G_COUNT)}

    def listener_row(self, int i):
        return self.r.stats.listeners[i]

    def cluster_row(self, int i):
        return self.r.stats.clusters[i]

    def limit_row(self, int i):
        return self.r.stats.limits[i]

    def endpoint_row(self, int i):
        return self.r.stats.endpoints[i]

    def series(self):
        """Every combination that has counted something: (protocol, code, flags, count, closed, received, sent)."""
        found = []
        for i in range(STATS_SERIES):
            row = &self.r.stats.series[i]
            if row.kind:
                found.append(((row.kind >> 48) & 0x7FFF, (row.kind >> 32) & 0xFFFF, row.kind & 0xFFFFFFFF, row.count,
                              row.closed, row.received, row.sent))
        return found

    def filter_calls(self, int row):
        """How often each phase of a filter was called."""
        return {FILTER_PHASES[i]: self.r.stats.filters[row].phases[i].calls for i in range(len(FILTER_PHASES))}

    def log(self):
        """The access log's lines that were not read before."""
        cdef log_ring_t *ring = &self.r.stats.log
        text = b""
        while ring.tail != ring.head:
            at = ring.tail % STATS_LOG_BYTES
            n = min(ring.head - ring.tail, STATS_LOG_BYTES - at)
            text += (<char *>ring.bytes)[at:at + n]
            ring.tail += n
        return text.decode().splitlines()

    # --- news from peers -------------------------------------------------------------------------

    cdef void tell(self, Socket s, int what):
        if not s.news:
            self.news.append(s)
        s.news |= what

    def on_arrival(self, Socket s, item):
        if not self.is_completion:
            s.inbound.append(item)
            self.tell(s, NEWS_IN | (NEWS_ERROR if isinstance(item, int) else 0))
            return
        s.inbound.append(item)
        if s.armed:
            self.complete_receive(s, self.arrived)
        if s.io is not NULL and s.io.flags & IO_POLLING:
            self.arrived.append(("ready", s, READY_IN | (READY_HUP if isinstance(item, int) else 0), 1))

    def on_break(self, Socket s):
        """Who waits for room in the send buffer hears of a broken connection too."""
        if not self.is_completion:
            self.tell(s, NEWS_OUT)
            return
        if s.room_polled:
            s.room_polled = False
            self.arrived.append(("room", s, 0, 0))
        if s.hangup_polled:
            s.hangup_polled = False
            self.arrived.append(("hangup", s, 1, 0))

    def on_connect(self, Socket s, int err):
        if err:
            s.broken = err
        if self.is_completion:
            self.arrived.append(("connect", s, -err, 0))
        else:
            s.io.err = err
            self.tell(s, NEWS_CONNECT | NEWS_OUT)

    def on_room(self, Socket s):
        if not self.is_completion:
            self.tell(s, NEWS_OUT)
        elif s.room_polled and s.room != 0:
            s.room_polled = False
            self.arrived.append(("room", s, 0, 0))
        if self.is_completion and s.io is not NULL and s.io.flags & IO_POLLING and s.room != 0:
            self.arrived.append(("ready", s, READY_OUT, 1))

    def on_visit(self, Socket s):
        if not self.is_completion:
            self.tell(s, NEWS_IN)
        elif s.armed:
            self.complete_accept(s, self.arrived)

    # --- both engines ----------------------------------------------------------------------------

    cdef Socket of(self, io_t *io):
        return <Socket>self.by_fd[io.fd]

    cdef int add(self, io_t *io):
        cdef Socket s
        if io.fd not in self.by_fd:
            s = Socket(self, io.fd, "door", "")
            self.by_fd[io.fd] = s
            self.sockets.append(s)
        else:
            s = self.by_fd[io.fd]
        s.io = io
        return FM_OK

    cdef void forget(self, Socket s):
        s.is_closed = True
        self.say(s, "is closed with RST" if s.was_reset else "is closed", None)
        del self.by_fd[s.fd]
        s.io = NULL
        if s.fd < FIRST_FD:
            os.close(s.fd)

    cdef void begin_connect(self, Socket s, const sockaddr *to, socklen_t n):
        cdef addr_t a
        cdef char text[ADDR_TEXT]
        assert addr_from_sockaddr(&a, to, n) == FM_OK
        s.peer = text[:addr_print(&a, text)].decode()
        s.is_connecting = True
        s.was_connecting = True
        self.say(s, "is connected to", s.peer)

    # --- ready: io/poll_epoll --------------------------------------------------------------------

    cdef void read_later(self, Socket s):
        if not s.io.flags & IO_IN_READY:
            s.io.flags |= IO_IN_READY
            s.io.ready_next = self.later
            self.later = s.io

    cdef void ready_send(self, Socket s):
        cdef io_t *io = s.io
        cdef slice_t *q
        cdef int rc = 0
        cdef uint32_t total
        while io.out_head is not NULL:
            total = 0
            sent = 0
            n = 0
            q = io.out_head
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
                if rc in (-EPIPE, -ECONNRESET) and (io.flags & (IO_RX_WANT | IO_CLOSE_SENT)) == IO_RX_WANT:
                    io.err = -rc
                    io.flags |= IO_TX_BROKEN | IO_RX_READY | IO_RX_HUP_SEEN
                    io_drop_queue(io)
                    self.read_later(s)
                else:
                    io_failed(io, -rc)
                return
            if sent == 0:
                break
            io_sent(io, sent)
            if rc < 0 or sent < total:
                break
        if io.out_head is not NULL:
            self.r.stats.globals[G_SENDS_SHORT] += 1
            io.flags |= IO_TX_WAIT
            io_keep(io)
        io_after_send(io)

    cdef void ready_flush(self):
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
            if io.flags & (IO_TX_WAIT | IO_CONNECTING):
                io_keep(io)
                continue
            self.ready_send(self.of(io))
        spoil(&r.scratch[0])
        scratch_reset(&r.scratch[0])

    cdef void ready_read(self, Socket s):
        cdef reactor_t *r = self.r
        cdef io_t *io = s.io
        cdef block_t *k
        cdef uint32_t n
        turns = 0
        while (io.flags & (IO_RX_WANT | IO_CLOSING | IO_WATCH)) == IO_RX_WANT:
            if turns == READS:
                io.flags |= IO_RX_READY
                self.read_later(s)
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
            if item is END and io.flags & IO_TX_BROKEN:
                io_failed(io, io.err)
                return
            if item is END:
                io.flags |= IO_EOF
                io.flags &= ~<uint32_t>(IO_RX_READY | IO_RX_WANT)
                io.on.on_eof(io)
                return
            n = len(item)
            k = block_new(&r.blocks, BLOCK_LARGE)
            deliver(io, k, item)
            self.ready_flush()
            spoil_block(k)
            if n < BLOCK_LARGE and not io.flags & (IO_IN_READY | IO_CLOSING):
                if not io.flags & IO_RX_HUP_SEEN:
                    io.flags &= ~<uint32_t>IO_RX_READY
                    if s.inbound:
                        # Another piece counts as having come later: the next edge tells of it.
                        self.tell(s, NEWS_IN)
                    return

    cdef void ready_hangup(self, Socket s):
        if s.io is not NULL and s.broken and (
                s.io.flags & (IO_HANGUP | IO_RX_WANT | IO_CLOSING | IO_WATCH)) == IO_HANGUP:
            io_failed(s.io, s.broken)
            self.ready_flush()

    cdef void ready_accept(self, Socket s):
        cdef io_t *io = s.io
        while io.flags & IO_RX_WANT and not io.flags & IO_CLOSING:
            if self.no_descriptors and s.backlog:
                self.r.stats.globals[G_ACCEPT_FAILED] += 1
                io.flags &= ~<uint32_t>IO_RX_WANT
                io.flags |= IO_RX_READY
                io.on.on_accept(io, -EMFILE)
                return
            if not s.backlog:
                io.flags &= ~<uint32_t>IO_RX_READY
                return
            io.on.on_accept(io, self.new_socket("client", s.backlog.popleft()).fd)
            self.ready_flush()

    cdef void ready_event(self, Socket s, int news):
        cdef io_t *io = s.io
        cdef int ready = 0
        if io is NULL or io.flags & IO_CLOSING:
            return
        if io.flags & IO_LISTEN:
            io.flags |= IO_RX_READY
            self.ready_accept(s)
            return
        if io.flags & IO_CONNECTING:
            if not news & NEWS_CONNECT:
                return
            io.flags &= ~<uint32_t>IO_CONNECTING
            io.on.on_connect(io, io.err)
            self.ready_flush()
            if io.flags & IO_CLOSING:
                return
        if io.flags & IO_WATCH:
            if news & NEWS_IN:
                ready |= READY_IN
            if news & NEWS_OUT:
                ready |= READY_OUT
            if news & NEWS_ERROR:
                ready |= READY_HUP | READY_IN | READY_OUT
            if ready & (io.watch_events | READY_HUP):
                io.on.on_ready(io, ready)
                self.ready_flush()
            return
        if news & NEWS_OUT and io.flags & IO_TX_WAIT:
            io.flags &= ~<uint32_t>IO_TX_WAIT
            self.ready_send(s)
            self.ready_flush()
            if io.flags & IO_CLOSING:
                return
        if news & (NEWS_IN | NEWS_ERROR):
            io.flags |= IO_RX_READY
            if any(not isinstance(item, bytes) for item in s.inbound):
                io.flags |= IO_RX_HUP_SEEN
            if io.flags & IO_RX_WANT:
                self.ready_read(s)
                self.ready_flush()
            if news & NEWS_ERROR:
                self.ready_hangup(s)

    def is_later(self, Socket s):
        return s.io is NULL or not s.io.flags & IO_FIRST

    cdef void ready_turn(self, uint64_t wait_ns):
        global clock_ns
        cdef Socket s
        cdef io_t *io
        cdef io_t *again
        self.ready_flush()
        if not self.news and self.later is NULL:
            clock_ns += wait_ns
        self.r.now_ns = clock_ns
        news, self.news = self.news[:self.batch_most], self.news[self.batch_most:]
        # As in io/poll_epoll: idle connections to endpoints first.
        for s in sorted(news, key=self.is_later):
            what = s.news
            s.news = 0
            self.ready_event(s, what)
        again = self.later
        self.later = NULL
        while again is not NULL:
            io = again
            again = io.ready_next
            io.flags &= ~<uint32_t>IO_IN_READY
            if io.flags & IO_CLOSING:
                io_gone(io)
                continue
            s = self.of(io)
            if io.flags & IO_LISTEN:
                self.ready_accept(s)
            elif io.flags & IO_CONNECTING:
                io.flags &= ~<uint32_t>(IO_CONNECTING | IO_RX_READY)
                s.is_connecting = False
                io.on.on_connect(io, io.err)
            elif io.flags & IO_RX_WANT:
                self.ready_read(s)
            self.ready_flush()
            if io.flags & IO_RX_HUP_SEEN:
                self.ready_hangup(s)

    cdef void ready_drop(self, Socket s, io_t *io):
        self.forget(s)
        io.fd = -1
        if not io.flags & IO_IN_READY:
            io_gone(io)

    # --- completion: io/poll_uring ---------------------------------------------------------------

    cdef void submit(self, str what, Socket s, argument=None):
        self.submitted.append((what, s, argument))

    cdef void cancel(self, Socket s, str what):
        s.io.inflight += 1
        self.submit("cancel", s, what)

    cdef void complete_receive(self, Socket s, list into):
        """Results of an armed receive, from what is there."""
        while s.armed and s.inbound:
            if s.burst == BURST:
                self.requeued.append(s)
                return
            s.burst += 1
            item = s.receive(BLOCK_LARGE if s.armed == BULK else BLOCK_SMALL, False)
            if isinstance(item, bytes):
                more = s.armed == MULTISHOT
                into.append(("rx", s, item, more))
                if not more:
                    s.armed = 0
            else:
                s.armed = 0
                into.append(("rx", s, item, False))

    cdef void complete_accept(self, Socket s, list into):
        while s.armed and s.backlog:
            if self.no_descriptors:
                s.armed = 0
                into.append(("accept", s, -EMFILE, False))
            else:
                into.append(("accept", s, self.new_socket("client", s.backlog.popleft()).fd, True))

    cdef void completion_rx(self, Socket s):
        cdef io_t *io = s.io
        cdef bint bulk = io.flags & IO_BULK != 0
        if (io.flags & (IO_HANGUP | IO_HANGUP_POLL | IO_RX_WANT | IO_CLOSING | IO_FAILED)) == IO_HANGUP:
            io.flags |= IO_HANGUP_POLL
            io.inflight += 1
            self.submit("hangup", s)
        if io.flags & IO_RX_ARMED:
            if io.flags & IO_RX_CANCEL:
                return
            if not io.flags & IO_RX_WANT or bulk != (io.flags & IO_RX_BULK != 0):
                io.flags |= IO_RX_CANCEL
                self.cancel(s, "rx")
            return
        if (io.flags & (IO_RX_WANT | IO_CLOSING | IO_EOF | IO_CONNECTING | IO_FAILED)) == IO_RX_WANT:
            io.flags |= IO_RX_ARMED
            if bulk:
                io.flags |= IO_RX_BULK
            io.inflight += 1
            self.submit("arm", s, BULK if bulk else MULTISHOT)

    cdef void completion_listen(self, Socket s, bint on):
        cdef io_t *io = s.io
        if on:
            io.flags |= IO_RX_WANT
            if not io.flags & IO_RX_ARMED:
                io.flags |= IO_RX_ARMED
                io.inflight += 1
                self.submit("arm accept", s)
        else:
            io.flags &= ~<uint32_t>IO_RX_WANT
            if io.flags & IO_RX_ARMED and not io.flags & IO_RX_CANCEL:
                io.flags |= IO_RX_CANCEL
                self.cancel(s, "accept")

    cdef void completion_watch(self, Socket s):
        if s.io.flags & IO_POLLING:
            return
        s.io.flags |= IO_POLLING
        s.io.inflight += 1
        self.submit("poll", s)

    cdef void maybe_gone(self, Socket s, io_t *io):
        if io.flags & IO_CLOSING and io.inflight == 0 and not io.flags & IO_FLUSHING:
            if not s.is_closed:
                self.forget(s)
                io.fd = -1
            io_gone(io)

    cdef void completion_drop(self, Socket s, io_t *io):
        if io.flags & IO_RX_ARMED and not io.flags & IO_RX_CANCEL:
            io.flags |= IO_RX_CANCEL
            self.cancel(s, "accept" if io.flags & IO_LISTEN else "rx")
        if io.flags & IO_TX_POLL:
            self.cancel(s, "room")
        if io.flags & IO_CONNECTING:
            self.cancel(s, "connect")
        if io.flags & IO_POLLING:
            self.cancel(s, "ready")
        if io.flags & IO_HANGUP_POLL:
            self.cancel(s, "hangup")
        self.maybe_gone(s, io)

    cdef void submit_send(self, Socket s):
        cdef io_t *io = s.io
        cdef slice_t *q = io.out_head
        n = 0
        io.tx_bytes = 0
        s.sending = []
        while q is not NULL and n < IOVS:
            # Addresses, as the kernel gets them: it looks there when the turn begins.
            s.sending.append((<size_t>q.ptr, q.len))
            io.tx_bytes += q.len
            n += 1
            q = q.next
        io.tx_part = q is not NULL
        io.tx_result = TX_SILENT
        if io.out_over or io.tx_part or io.flags & (IO_CLOSE_SENT | IO_SHUT_WANT):
            self.settle_soon = True
        io.flags |= IO_FLUSHING
        self.flushed.append(s)
        self.submit("send", s)

    cdef void completion_flush(self):
        cdef reactor_t *r = self.r
        cdef io_t *io
        while r.dirty is not NULL:
            io = r.dirty
            r.dirty = io.dirty_next
            if r.dirty is NULL:
                r.dirty_tail = NULL
            io.flags &= ~<uint32_t>IO_DIRTY
            if io.flags & (IO_CLOSING | IO_FAILED) or io.out_head is NULL:
                continue
            if io.flags & (IO_TX_WAIT | IO_CONNECTING):
                io_keep(io)
                continue
            self.submit_send(self.of(io))

    cdef list enter(self):
        """What the kernel has to say: of what was submitted, then of what came in, then of what was called off."""
        cdef Socket s
        done = []
        cancelled = []
        requeued, self.requeued = self.requeued, []
        for s in self.sockets:
            s.burst = 0
        while self.submitted:
            submitted, self.submitted = self.submitted, []
            for what, s, argument in submitted:
                if what == "send":
                    sent = 0
                    for at, n in s.sending:
                        rc = s.send(<const uint8_t *><size_t>at, n)
                        if rc > 0:
                            sent += rc
                        if rc < <int>n:
                            break
                    if sent == 0 and rc < 0:
                        done.append(("tx", s, rc, False))
                    elif sent < sum(n for _, n in s.sending):
                        done.append(("tx", s, sent, False))
                elif what == "arm":
                    s.armed = argument
                    self.complete_receive(s, done)
                elif what == "arm accept":
                    s.armed = MULTISHOT
                    self.complete_accept(s, done)
                elif what == "connect":
                    if s.peer in self.at_once:
                        s.is_connecting = False
                        s.broken = self.at_once[s.peer]
                        done.append(("connect", s, -s.broken, False))
                elif what == "room":
                    if s.room == 0 and not s.broken:
                        s.room_polled = True
                    else:
                        done.append(("room", s, 0, False))
                elif what == "hangup":
                    if s.broken:
                        done.append(("hangup", s, 1, False))
                    else:
                        s.hangup_polled = True
                elif what == "poll":
                    done.append(("ready", s, (READY_OUT if s.room != 0 else 0) | (READY_IN if s.inbound else 0), True))
                elif what == "cancel":
                    cancelled += self.do_cancel(s, argument)
        done += self.arrived
        self.arrived = []
        for s in dict.fromkeys(requeued):
            self.complete_receive(s, done)
        return done + cancelled

    cdef list do_cancel(self, Socket s, str what):
        if self.cancels_missed > 0 and what in ("rx", "accept"):
            self.cancels_missed -= 1
            return [("cancel", s, -EALREADY, False)]
        if what in ("rx", "accept"):
            was = s.armed
            s.armed = 0
        elif what == "room":
            was = s.room_polled
            s.room_polled = False
        elif what == "hangup":
            was = s.hangup_polled
            s.hangup_polled = False
        elif what == "connect":
            was = s.is_connecting
            s.is_connecting = False
        else:
            was = True
        if not was:
            return [("cancel", s, -ENOENT, False)]
        return [(what, s, -ECANCELED, False), ("cancel", s, 0, False)]

    cdef void on_cqe(self, str tag, Socket s, result, bint more):
        cdef io_t *io = s.io
        cdef int rc
        if tag == "rx":
            self.on_rx(s, io, result, more)
        elif tag == "tx":
            io.tx_result = result
        elif tag == "room":
            io.inflight -= 1
            io.flags &= ~<uint32_t>(IO_TX_POLL | IO_TX_WAIT)
            if io.flags & IO_CLOSING:
                self.maybe_gone(s, io)
            elif io.out_head is not NULL:
                io_mark_dirty(io)
        elif tag == "connect":
            io.inflight -= 1
            io.flags &= ~<uint32_t>IO_CONNECTING
            if io.flags & IO_CLOSING:
                self.maybe_gone(s, io)
            else:
                io.on.on_connect(io, -result)
                if not io.flags & IO_CLOSING:
                    self.completion_rx(s)
                    if io.out_head is not NULL:
                        io_mark_dirty(io)
        elif tag == "accept":
            if not more:
                io.flags &= ~<uint32_t>(IO_RX_ARMED | IO_RX_CANCEL)
                io.inflight -= 1
            rc = result
            if rc >= 0:
                if io.flags & IO_CLOSING:
                    self.forget(self.by_fd[rc])
                else:
                    io.on.on_accept(io, rc)
            elif rc != -ECANCELED and not io.flags & IO_CLOSING:
                self.r.stats.globals[G_ACCEPT_FAILED] += 1
                io.flags &= ~<uint32_t>IO_RX_WANT
                io.on.on_accept(io, rc)
            if io.flags & IO_CLOSING:
                self.maybe_gone(s, io)
            elif io.flags & IO_RX_WANT and not io.flags & IO_RX_ARMED:
                self.completion_listen(s, True)
        elif tag == "ready":
            if not more:
                io.flags &= ~<uint32_t>IO_POLLING
                io.inflight -= 1
            if result > 0 and not io.flags & IO_CLOSING:
                io.on.on_ready(io, result | (READY_IN | READY_OUT if result & READY_HUP else 0))
            if io.flags & IO_CLOSING:
                self.maybe_gone(s, io)
            elif io.flags & IO_WATCH and not io.flags & IO_POLLING and result > 0:
                self.completion_watch(s)
        elif tag == "hangup":
            io.inflight -= 1
            io.flags &= ~<uint32_t>IO_HANGUP_POLL
            if io.flags & IO_CLOSING:
                self.maybe_gone(s, io)
            elif result > 0 and not io.flags & (IO_RX_WANT | IO_RX_ARMED | IO_WATCH):
                io_failed(io, s.broken)
        elif tag == "cancel":
            io.inflight -= 1
            if result < 0 and (io.flags & (IO_RX_ARMED | IO_RX_CANCEL)) == (IO_RX_ARMED | IO_RX_CANCEL):
                io.flags &= ~<uint32_t>IO_RX_CANCEL
                if io.flags & IO_CLOSING or io.flags & IO_LISTEN:
                    if io.flags & IO_CLOSING or not io.flags & IO_RX_WANT:
                        io.flags |= IO_RX_CANCEL
                        self.cancel(s, "accept" if io.flags & IO_LISTEN else "rx")
                else:
                    self.completion_rx(s)
            if io.flags & IO_CLOSING:
                self.maybe_gone(s, io)

    cdef void on_rx(self, Socket s, io_t *io, result, bint more):
        cdef block_t *k
        cdef bint large = io.flags & IO_RX_BULK != 0
        if not more:
            io.flags &= ~<uint32_t>(IO_RX_ARMED | IO_RX_CANCEL | IO_RX_BULK)
            io.inflight -= 1
        if isinstance(result, bytes):
            k = block_new(&self.r.blocks, BLOCK_LARGE if large else BLOCK_SMALL)
            if not io.flags & IO_CLOSING:
                deliver(io, k, result)
            spoil_block(k)
        elif result is END:
            if not io.flags & (IO_CLOSING | IO_EOF):
                io.flags |= IO_EOF
                io.flags &= ~<uint32_t>IO_RX_WANT
                io.on.on_eof(io)
        elif result != -ECANCELED:
            io_failed(io, -result)
        if io.flags & IO_CLOSING:
            self.maybe_gone(s, io)
        elif not io.flags & IO_RX_ARMED:
            self.completion_rx(s)

    cdef void settle(self):
        cdef Socket s
        cdef io_t *io
        flushed, self.flushed = self.flushed, []
        for s in reversed(flushed):
            io = s.io
            io.flags &= ~<uint32_t>IO_FLUSHING
            if io.flags & IO_CLOSING:
                io_drop_queue(io)
                self.maybe_gone(s, io)
            elif io.flags & IO_FAILED:
                pass
            elif io.tx_result == TX_SILENT:
                io_sent(io, io.tx_bytes)
                if io.out_head is not NULL:
                    if io.tx_part:
                        io_keep(io)
                    io_mark_dirty(io)
                io_after_send(io)
            elif io.flags & IO_FIRM and (io.tx_result >= 0 or io.tx_result == -EAGAIN):
                io_failed(io, EPIPE)
            elif io.tx_result >= 0 or io.tx_result == -EAGAIN:
                self.r.stats.globals[G_SENDS_SHORT] += 1
                if io.tx_result > 0:
                    io_sent(io, io.tx_result)
                io_keep(io)
                io.flags |= IO_TX_WAIT
                if not io.flags & IO_TX_POLL:
                    io.flags |= IO_TX_POLL
                    io.inflight += 1
                    self.submit("room", s)
                io_after_send(io)
            else:
                io_failed(io, -io.tx_result)
            io.flags &= ~<uint32_t>IO_FIRM

    cdef void completion_turn(self, uint64_t wait_ns):
        global clock_ns
        cdef reactor_t *r = self.r
        cdef uint32_t before = r.cur
        self.completion_flush()
        done = self.enter()
        if not done and not self.settle_soon:
            clock_ns += wait_ns
        self.settle_soon = False
        r.now_ns = clock_ns
        r.cur ^= 1
        for tag, s, result, more in done:
            self.on_cqe(tag, s, result, more)
        self.settle()
        spoil(&r.scratch[before])
        scratch_reset(&r.scratch[before])


cdef void spoil(scratch_t *s) noexcept nogil:
    cdef uint32_t i
    for i in range(s.n if s.n < s.at + 1 else s.at + 1):
        memset(s.chunks[i], 0xDD, s.used if i == s.at else <uint32_t>SCRATCH_CHUNK)


cdef void spoil_block(block_t *k) noexcept nogil:
    """Gives back the engine's reference."""
    if k.refs == 1:
        memset(k.bytes, 0xDD, k.cap)
    block_put(k)


cdef deliver(io_t *io, block_t *k, bytes what):
    """Hands bytes over, which lie at the end of their block: reading on is reading beyond it."""
    cdef uint32_t n = <uint32_t>len(what)
    cdef const char *p = what
    memcpy(k.bytes + k.cap - n, p, n)
    io.on.on_bytes(io, k.bytes + k.cap - n, n, k)


# --- the tables --------------------------------------------------------------------------------------

cdef Stage the_stage = None
cdef uint64_t clock_ns = 0
cdef const engine_t *replaced = NULL
cdef engine_t SCRIPTED
cdef socket_calls_t CALLS


cdef int _open(reactor_t *r) noexcept with gil:
    the_stage.r = r
    return FM_OK


cdef void _close(reactor_t *r) noexcept with gil:
    cdef Socket s
    for s in the_stage.sockets:
        s.io = NULL


cdef int _add(reactor_t *r, io_t *io) noexcept with gil:
    return the_stage.add(io)


cdef void _rx(reactor_t *r, io_t *io) noexcept with gil:
    try:
        if the_stage.is_completion:
            the_stage.completion_rx(the_stage.of(io))
        elif io.flags & IO_RX_WANT and io.flags & IO_RX_READY:
            the_stage.read_later(the_stage.of(io))
    except BaseException as error:
        the_stage.fail(error)


cdef void _listen(reactor_t *r, io_t *io, bint on) noexcept with gil:
    try:
        if the_stage.is_completion:
            the_stage.completion_listen(the_stage.of(io), on)
        elif on:
            io.flags |= IO_RX_WANT | IO_RX_READY
            the_stage.read_later(the_stage.of(io))
        else:
            io.flags &= ~<uint32_t>IO_RX_WANT
    except BaseException as error:
        the_stage.fail(error)


cdef void _connect(reactor_t *r, io_t *io, const sockaddr *to, socklen_t n) noexcept with gil:
    cdef Socket s
    try:
        s = the_stage.of(io)
        the_stage.begin_connect(s, to, n)
        if the_stage.is_completion:
            io.inflight += 1
            the_stage.submit("connect", s)
        elif s.peer in the_stage.at_once:
            io.err = the_stage.at_once[s.peer]
            s.broken = io.err
            io.flags |= IO_RX_READY
            the_stage.read_later(s)
    except BaseException as error:
        the_stage.fail(error)


cdef void _watch(reactor_t *r, io_t *io) noexcept with gil:
    try:
        if the_stage.is_completion:
            the_stage.completion_watch(the_stage.of(io))
        else:
            io_again(io)
    except BaseException as error:
        the_stage.fail(error)


cdef void _drop(reactor_t *r, io_t *io) noexcept with gil:
    try:
        if the_stage.is_completion:
            the_stage.completion_drop(the_stage.of(io), io)
        else:
            the_stage.ready_drop(the_stage.of(io), io)
    except BaseException as error:
        the_stage.fail(error)


cdef void _turn(reactor_t *r, uint64_t wait_ns) noexcept with gil:
    try:
        if the_stage.is_completion:
            the_stage.completion_turn(wait_ns)
        else:
            the_stage.ready_turn(wait_ns)
    except BaseException as error:
        the_stage.fail(error)


cdef uint64_t _now() noexcept nogil:
    return clock_ns


SCRIPTED.name = b"scripted"
SCRIPTED.open = _open
SCRIPTED.close = _close
SCRIPTED.add = _add
SCRIPTED.rx = _rx
SCRIPTED.listen = _listen
SCRIPTED.connect = _connect
SCRIPTED.watch = _watch
SCRIPTED.drop = _drop
SCRIPTED.turn = _turn
SCRIPTED.now = _now
SCRIPTED.calls = &CALLS


cdef int _call_socket(int domain, int kind, int protocol) noexcept with gil:
    if not the_stage.no_descriptors:
        return the_stage.new_socket("upstream", "?").fd
    c_errno.errno = EMFILE_
    return -1


cdef int _call_accept(int fd, int flags) noexcept with gil:
    cdef Socket s
    s = the_stage.by_fd[fd]
    if s.backlog:
        return the_stage.new_socket("client", s.backlog.popleft()).fd
    c_errno.errno = EAGAIN_
    return -1


cdef int _call_peer(int fd, sockaddr_storage *to, socklen_t *n) noexcept with gil:
    cdef addr_t a
    cdef Socket s
    s = the_stage.by_fd[fd]
    text = s.peer.encode()
    if addr_parse(&a, text, len(text)) == FM_OK:
        n[0] = addr_to_sockaddr(&a, to)
        return 0
    c_errno.errno = ENOTCONN_
    return -1


cdef int _call_setsockopt(int fd, int level, int name, const void *value, socklen_t n) noexcept with gil:
    cdef Socket s
    s = the_stage.by_fd[fd]
    if level == SOL_SOCKET and name == SO_LINGER:
        s.was_reset = True
    else:
        s.has_nodelay = True
    return 0


cdef int _call_getsockopt(int fd, int level, int name, void *value, socklen_t *n) noexcept with gil:
    cdef Socket s = the_stage.by_fd[fd]
    assert level == SOL_SOCKET and name == SO_ERROR
    (<int *>value)[0] = s.broken
    return 0


cdef ssize_t _call_recv(int fd, void *to, size_t n, int flags) noexcept with gil:
    cdef Socket s
    cdef int err
    cdef const char *p
    s = the_stage.by_fd[fd]
    item = s.receive(n, flags & MSG_PEEK != 0)
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
    cdef Socket s
    cdef int rc
    s = the_stage.by_fd[fd]
    rc = s.send(<const uint8_t *>what, n)
    if rc >= 0:
        return rc
    c_errno.errno = -rc
    return -1


cdef ssize_t _call_splice(int fd_in, int fd_out, size_t n, unsigned int flags) noexcept with gil:
    """Into a pipe or out of one: the pipe is a real one."""
    cdef Socket s
    cdef int err = 0
    cdef int rc
    cdef bytes piece
    try:
        if fd_in >= FIRST_FD:
            s = the_stage.by_fd[fd_in]
            item = s.receive(n if n < 65536 else 65536, False)
            if item is END:
                return 0
            if isinstance(item, bytes):
                return os.write(fd_out, item)
            err = -item
        else:
            s = the_stage.by_fd[fd_out]
            if s.room is not None:
                n = min(n, s.room)
            if s.broken or s.was_shut:
                err = s.broken or EPIPE
            elif n == 0:
                err = EAGAIN
            else:
                piece = os.read(fd_in, n)
                rc = s.send(piece, len(piece))
                assert rc == len(piece)
                return rc
    except BaseException as error:
        the_stage.fail(error)
    c_errno.errno = err
    return -1


cdef int _call_unsent(int fd) noexcept nogil:
    """The peers of a stage take at once what its kernel takes."""
    return 0


cdef int _call_shutdown(int fd, int how) noexcept with gil:
    cdef Socket s
    s = the_stage.by_fd[fd]
    if how == SHUT_WR:
        s.was_shut = True
    the_stage.say(s, "hears the end", None)
    return 0


cdef int _call_close(int fd) noexcept with gil:
    the_stage.forget(the_stage.by_fd[fd])
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


def heads_alive():
    return heads_live()


def snapshots_alive():
    return snapshot_live()
