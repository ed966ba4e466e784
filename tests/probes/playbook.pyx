"""Kernels for tests: no descriptors, no waiting, a clock that moves only when told to, and everything on record.

A kernel is the stage of play/stage, made harsher. A test puts events on it (bytes from a peer, an end, a refusal, room
in a send buffer), runs turns of the reactor, and looks at what the proxy has done to its sockets. Two sets of manners:

`Kernel` has those of io/poll_epoll, as every stage: readiness is told, calls are made then, a send is done when flush
returns.
`CompletionKernel` has those of io/poll_uring: what was under way is delivered although receiving was switched off
since, sends are settled only at the end of a turn, receives that were called off end later, bulk comes one piece at a
time.

Memory that must not be looked at any more (scratch memory after its flush, a receive block that nobody kept) is
overwritten, so that a late look shows in the bytes that a peer gets.
"""
import os

from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memset
from fastmesh._core.filter.chain cimport slot_entries
from fastmesh._core.io.reactor cimport (
    ENGINE_URING, IO_BULK, IO_CLOSE_SENT, IO_CLOSING, IO_CONNECTING, IO_END, IO_EOF, IO_FAILED, IO_FIRM, IO_FLUSHING,
    IO_HANGUP, IO_HANGUP_POLL, IO_LISTEN, IO_POLLING, IO_RX_ARMED, IO_RX_BULK, IO_RX_CANCEL, IO_RX_READY, IO_RX_WANT,
    IO_SHUT_WANT, IO_TX_POLL, IO_TX_WAIT, IO_WATCH, READY_HUP, READY_IN, READY_OUT, SCRATCH_CHUNK, engine_t,
    io_after_send, io_again, io_drop_queue, io_failed, io_gone, io_keep, io_look_for_end, io_mark_dirty, io_read_later,
    io_sent, io_t, io_take_dirty, reactor_t, scratch_reset, scratch_t, slice_t)
from fastmesh._core.mem.block cimport BLOCK_LARGE, BLOCK_SMALL, block_new, block_put, block_t
from fastmesh._core.mem.counter cimport (
    G_ACCEPT_FAILED, G_COUNT, G_SENDS_SHORT, STATS_LOG_BYTES, STATS_SERIES, log_ring_t)
from fastmesh._core.mem.counter import FILTER_PHASES, GLOBALS
from fastmesh._core.play cimport stage as play_stage
from fastmesh._core.play.stage cimport (
    IN_MEMORY, NEWS_CONNECT, NEWS_ERROR, NEWS_IN, NEWS_OUT, Line, Stage, deliver, fresh_fd, line_of)
from fastmesh._core.sys.errno_sys cimport EAGAIN, EALREADY, ECANCELED, EMFILE, ENOENT, EPIPE
from fastmesh._core.sys.socket cimport sockaddr, socklen_t

cdef enum:
    IOVS = 64                 # as in io/poll_uring
    BURST = 32                # results of one receive before others get their turn (MULTISHOT_MAX_RETRY of the kernel)
    TX_SILENT = 0x40000000    # as in io/poll_uring
    MULTISHOT = 1
    BULK = 2
    PIECE = 65536             # of a splice
    # what a poll for a reset or an end tells of
    GONE = 1
    ENDED = 2

# What a peer sends besides bytes; an errno is a connection that breaks.
END = "end"


cdef class Socket(Line):
    """What the proxy has a descriptor for, and the peer behind it."""
    cdef int number                   # of this kernel's sockets
    cdef public int seen              # how much of `wire` the test has looked at
    cdef public object room           # bytes that the send buffer takes; None = any number
    cdef readonly bint was_connecting
    # of a CompletionKernel
    cdef int armed                    # 0, MULTISHOT or BULK
    cdef int burst                    # results since the last enter
    cdef bint room_polled             # a poll for room is in the kernel
    cdef bint hangup_polled           # a poll for a reset is in the kernel
    cdef bint end_polled              # and for an end
    cdef list sending                 # (address, length) of what a submitted send refers to

    def __repr__(self):
        return f"<{self.role} {self.number} {self.peer}>"

    @property
    def wire(self):
        """All that the proxy has sent."""
        return self.outbound

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

    cdef say(self, what, about):
        (<Kernel>self.stage).trace.append((play_stage.clock_ns, self, what, about))

    # --- what the peer does ----------------------------------------------------------------------

    def sends(self, *what):
        """Bytes, END or an errno (of a broken connection) arrive."""
        for item in what:
            assert not self.is_closed, f"{self} is closed: nothing arrives there"
            self.say("sends", item)
            if isinstance(item, int):
                self.fail(item)
            elif item is END:
                self.hang_up()
            else:
                self.append(item)

    def connect_done(self, int err=0):
        assert self.is_connecting and not self.is_closed, f"{self} is not connecting"
        self.say("connect", err)
        self.decide(err)

    def reads(self, n):
        """Room for n bytes more, None = for any number."""
        self.say("reads", n)
        self.room = None if n is None or self.room is None else self.room + n
        self.stage.tell(self, NEWS_OUT)

    def visit(self, str peer):
        """At a door: a client connects."""
        self.say("is visited by", peer)
        Line.visit(self, peer)

    # --- the kernel's side of calls --------------------------------------------------------------

    cdef int send(self, const uint8_t *p, size_t n):
        cdef size_t taken = n
        cdef int rc
        if self.room is not None and not self.broken and not self.is_shut:
            taken = min(n, self.room)
            if taken == 0 and n > 0:
                return -EAGAIN
        rc = Line.send(self, p, taken)
        if rc >= 0:
            if self.room is not None:
                self.room -= rc
            self.say("gets", bytes((<const char *>p)[:rc]))
        return rc

    cdef void shut(self):
        Line.shut(self)
        self.say("hears the end", None)


cdef class Kernel(Stage):
    """The kernel of one test. Only one at a time is up."""
    cdef readonly list sockets        # all there ever were
    cdef readonly list trace
    cdef public bint no_descriptors
    cdef public dict at_once          # address -> errno: connects that are decided by the call itself
    cdef public int cancels_missed    # of a CompletionKernel: so many cancels do not find what they are to cancel

    def __init__(self):
        super().__init__()
        self.sockets = []
        self.trace = []
        self.at_once = {}
        play_stage.clock_ns = 1000 * 10**9 + 12345

    def jump(self, long long ns):
        """The clock is set on, or back."""
        play_stage.clock_ns = <uint64_t>(<long long>play_stage.clock_ns + ns)

    def tell_at_a_time(self, int most):
        """In the manners of epoll: so many sockets' news in one turn."""
        self.batch_most = most

    # --- what can be read off --------------------------------------------------------------------

    def counters(self):
        return {GLOBALS[i]: self.alive().stats.globals[i] for i in range(G_COUNT)}

    def listener_row(self, int i):
        return self.alive().stats.listeners[i]

    def cluster_row(self, int i):
        return self.alive().stats.clusters[i]

    def limit_row(self, int i):
        return self.r.stats.limits[i]

    def endpoint_row(self, int i):
        return self.alive().stats.endpoints[i]

    def series(self):
        """Every combination that has counted something: (protocol, code, flags, count, closed, received, sent)."""
        found = []
        for i in range(STATS_SERIES):
            row = &self.alive().stats.series[i]
            if row.kind:
                found.append(((row.kind >> 48) & 0x7FFF, (row.kind >> 32) & 0xFFFF, row.kind & 0xFFFFFFFF, row.count,
                              row.closed, row.received, row.sent))
        return found

    def labelled(self):
        """Requests by labels: names of listener, route and cluster, names and values of labels -> by hundred."""
        found = {}
        head = &self.alive().stats.labelled.head
        for i in range(head.n_rows):
            row = &self.alive().stats.labelled.rows[i]
            text, parts = (<char *>row.text)[:row.size], []
            while text:
                parts.append(text[1:1 + text[0]].decode())
                text = text[1 + text[0]:]
            if parts:
                found[tuple(parts)] = [row.requests[k] for k in range(6)]
        return found

    def filter_calls(self, int row):
        """How often each phase of a filter was called."""
        return {FILTER_PHASES[i]: self.alive().stats.filters[row].phases[i].calls for i in range(len(FILTER_PHASES))}

    def filter_entries(self):
        """How often Python was entered for a filter, whichever it was."""
        return slot_entries()

    def scratch(self):
        """The first bytes of the reactor's scratch memory, of which nothing is in use between turns."""
        cdef scratch_t *s
        found = []
        for i in range(2):
            s = &self.alive().scratch[i]
            if s.n > 0:
                found.append((<char *>s.chunks[0])[:16])
        return found

    def log(self):
        """The access log's lines that were not read before."""
        cdef log_ring_t *ring = &self.alive().stats.log
        text = b""
        while ring.tail != ring.head:
            at = ring.tail % STATS_LOG_BYTES
            n = min(ring.head - ring.tail, STATS_LOG_BYTES - at)
            text += (<char *>ring.bytes)[at:at + n]
            ring.tail += n
        return text.decode().splitlines()

    # --- where it differs from every stage -------------------------------------------------------

    cdef Line new_line(self, str role, str peer, int fd):
        cdef Socket s = Socket(self, role, peer, fd)
        s.number = len(self.sockets)
        self.sockets.append(s)
        return s

    cdef bint has_descriptors(self):
        return not self.no_descriptors

    cdef void forget(self, Line s):
        (<Socket>s).say("is closed with RST" if s.was_reset else "is closed", None)
        Stage.forget(self, s)

    cdef void put_block(self, block_t *k):
        if k.refs == 1:
            memset(k.bytes, 0xDD, k.cap)
        block_put(k)

    cdef void reset_scratch(self, scratch_t *s):
        cdef uint32_t i
        for i in range(s.n if s.n < s.at + 1 else s.at + 1):
            memset(s.chunks[i], 0xDD, s.used if i == s.at else <uint32_t>SCRATCH_CHUNK)
        scratch_reset(s)

    cdef void begin_connect(self, io_t *io, const sockaddr *to, socklen_t n):
        cdef Socket s = <Socket>line_of(io)
        Stage.connect(self, io, to, n)
        s.was_connecting = True
        s.say("is connected to", s.peer)

    cdef void connect(self, io_t *io, const sockaddr *to, socklen_t n):
        cdef Socket s = <Socket>line_of(io)
        self.begin_connect(io, to, n)
        if s.peer in self.at_once:
            io.err = s.broken = self.at_once[s.peer]
            io.flags |= IO_RX_READY
            io_read_later(io, &self.later)

    cdef void watch(self, io_t *io):
        io_again(io)

    cdef void watched(self, Line s, int news):
        cdef int ready = 0
        if news & NEWS_IN:
            ready |= READY_IN
        if news & NEWS_OUT:
            ready |= READY_OUT
        if news & NEWS_ERROR:
            ready |= READY_HUP | READY_IN | READY_OUT
        if ready & (s.io.watch_events | READY_HUP):
            s.io.on.on_ready(s.io, ready)
            self.flush()

    cdef ssize_t splice(self, Line s, int fd_in, int fd_out, size_t n):
        """The pipe is a real one."""
        cdef bytes piece
        cdef ssize_t rc
        if fd_in == s.fd:
            item = s.receive(n if n < PIECE else PIECE, False)
            if isinstance(item, int):
                return item
            return os.write(fd_out, item) if item else 0
        if s.broken or s.is_shut:
            return -(s.broken or EPIPE)
        if (<Socket>s).room is not None:
            n = min(n, (<Socket>s).room)
        if n == 0:
            return -EAGAIN
        piece = os.read(fd_in, n)
        rc = s.send(piece, len(piece))
        assert rc == len(piece)
        return rc


cdef class CompletionKernel(Kernel):
    cdef list submitted               # (what, socket, argument)
    cdef list arrived                 # (tag, socket, result, more) since the last enter
    cdef list requeued                # receives that go on in the next enter
    cdef list flushed
    cdef bint settle_soon

    def __init__(self):
        super().__init__()
        self.submitted = []
        self.arrived = []
        self.flushed = []
        self.requeued = []

    cdef const engine_t *engine(self):
        return &COMPLETION

    cdef bint has_work(self):
        return Stage.has_work(self) or bool(self.submitted or self.arrived or self.flushed or self.requeued)

    cdef void tell(self, Line line, int what):
        cdef Socket s = <Socket>line
        cdef bint polling = s.io is not NULL and s.io.flags & IO_POLLING != 0
        if what & NEWS_CONNECT:
            self.arrived.append(("connect", s, -s.broken, False))
            return
        if what & NEWS_OUT and s.room_polled and (s.room != 0 or what & NEWS_ERROR):
            s.room_polled = False
            self.arrived.append(("room", s, 0, False))
        if s.hangup_polled and (what & NEWS_ERROR or (s.end_polled and s.has_ended)):
            s.hangup_polled = False
            self.arrived.append(("hangup", s, GONE if s.broken else ENDED, False))
        if what & NEWS_IN and s.armed:
            if s.role == "door":
                self.complete_accept(s, self.arrived)
            else:
                self.complete_receive(s, self.arrived)
        if polling and what & NEWS_IN:
            self.arrived.append(("ready", s, READY_IN | (READY_HUP if what & NEWS_ERROR else 0), True))
        elif polling and s.room != 0:
            self.arrived.append(("ready", s, READY_OUT, True))

    cdef void submit(self, str what, Socket s, argument=None):
        self.submitted.append((what, s, argument))

    cdef void cancel(self, Socket s, str what):
        s.io.inflight += 1
        self.submit("cancel", s, what)

    cdef void complete_receive(self, Socket s, list into):
        """Results of an armed receive, from what is there."""
        while s.armed and s.is_readable():
            if s.burst == BURST:
                self.requeued.append(s)
                return
            s.burst += 1
            item = s.receive(BLOCK_LARGE if s.armed == BULK else BLOCK_SMALL, False)
            more = s.armed == MULTISHOT and isinstance(item, bytes) and item != b""
            if not more:
                s.armed = 0
            into.append(("rx", s, item, more))

    cdef void complete_accept(self, Socket s, list into):
        while s.armed and s.backlog:
            if self.no_descriptors:
                s.armed = 0
                into.append(("accept", s, -EMFILE, False))
            else:
                into.append(("accept", s, self.new_line("client", s.backlog.popleft(), fresh_fd()), True))

    cdef void rx(self, io_t *io):
        cdef Socket s = <Socket>line_of(io)
        cdef bint bulk = io.flags & IO_BULK != 0
        if (io.flags & (IO_HANGUP | IO_HANGUP_POLL | IO_RX_WANT | IO_CLOSING | IO_FAILED)) == IO_HANGUP:
            io.flags |= IO_HANGUP_POLL
            io.inflight += 1
            self.submit("hangup", s, io.flags & IO_END != 0)
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

    cdef void listen(self, io_t *io, bint on):
        cdef Socket s = <Socket>line_of(io)
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

    cdef void connect(self, io_t *io, const sockaddr *to, socklen_t n):
        self.begin_connect(io, to, n)
        io.inflight += 1
        self.submit("connect", <Socket>line_of(io))

    cdef void watch(self, io_t *io):
        if io.flags & IO_POLLING:
            return
        io.flags |= IO_POLLING
        io.inflight += 1
        self.submit("poll", <Socket>line_of(io))

    cdef void maybe_gone(self, Socket s, io_t *io):
        if io.flags & IO_CLOSING and io.inflight == 0 and not io.flags & IO_FLUSHING:
            if not s.is_closed:
                self.forget(s)
                io.fd = -1
            io_gone(io)

    cdef void drop(self, io_t *io):
        cdef Socket s = <Socket>line_of(io)
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

    cdef void flush(self):
        cdef io_t *io
        while True:
            io = io_take_dirty(self.r)
            if io is NULL:
                return
            if io.flags & (IO_CLOSING | IO_FAILED) or io.out_head is NULL:
                continue
            if io.flags & (IO_TX_WAIT | IO_CONNECTING):
                io_keep(io)
                continue
            self.submit_send(<Socket>line_of(io))

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
                    if s.broken or (argument and s.has_ended):
                        done.append(("hangup", s, GONE if s.broken else ENDED, False))
                    else:
                        s.hangup_polled = True
                        s.end_polled = argument
                elif what == "poll":
                    ready = (READY_OUT if s.room != 0 else 0) | (READY_IN if s.is_readable() else 0)
                    done.append(("ready", s, ready, True))
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
                    self.rx(io)
                    if io.out_head is not NULL:
                        io_mark_dirty(io)
        elif tag == "accept":
            if not more:
                io.flags &= ~<uint32_t>(IO_RX_ARMED | IO_RX_CANCEL)
                io.inflight -= 1
            if isinstance(result, Socket):
                if io.flags & IO_CLOSING:
                    self.forget(<Socket>result)
                else:
                    io.on.on_accept(io, (<Socket>result).fd)
            elif result != -ECANCELED and not io.flags & IO_CLOSING:
                self.r.stats.globals[G_ACCEPT_FAILED] += 1
                io.flags &= ~<uint32_t>IO_RX_WANT
                io.on.on_accept(io, result)
            if io.flags & IO_CLOSING:
                self.maybe_gone(s, io)
            elif io.flags & IO_RX_WANT and not io.flags & IO_RX_ARMED:
                self.listen(io, True)
        elif tag == "ready":
            if not more:
                io.flags &= ~<uint32_t>IO_POLLING
                io.inflight -= 1
            if result > 0 and not io.flags & IO_CLOSING:
                io.on.on_ready(io, result | (READY_IN | READY_OUT if result & READY_HUP else 0))
            if io.flags & IO_CLOSING:
                self.maybe_gone(s, io)
            elif io.flags & IO_WATCH and not io.flags & IO_POLLING and result > 0:
                self.watch(io)
        elif tag == "hangup":
            io.inflight -= 1
            io.flags &= ~<uint32_t>IO_HANGUP_POLL
            if io.flags & IO_CLOSING:
                self.maybe_gone(s, io)
            elif result > 0 and (io.flags & IO_RX_ARMED or not io_look_for_end(io, result == GONE)):
                if result == ENDED and not io.flags & (IO_CLOSING | IO_FAILED):
                    io.flags |= IO_HANGUP_POLL
                    io.inflight += 1
                    self.submit("hangup", s, False)
        elif tag == "cancel":
            io.inflight -= 1
            if result < 0 and (io.flags & (IO_RX_ARMED | IO_RX_CANCEL)) == (IO_RX_ARMED | IO_RX_CANCEL):
                io.flags &= ~<uint32_t>IO_RX_CANCEL
                if io.flags & IO_CLOSING or io.flags & IO_LISTEN:
                    if io.flags & IO_CLOSING or not io.flags & IO_RX_WANT:
                        io.flags |= IO_RX_CANCEL
                        self.cancel(s, "accept" if io.flags & IO_LISTEN else "rx")
                else:
                    self.rx(io)
            if io.flags & IO_CLOSING:
                self.maybe_gone(s, io)

    cdef void on_rx(self, Socket s, io_t *io, result, bint more):
        cdef block_t *k
        cdef bint large = io.flags & IO_RX_BULK != 0
        if not more:
            io.flags &= ~<uint32_t>(IO_RX_ARMED | IO_RX_CANCEL | IO_RX_BULK)
            io.inflight -= 1
        if isinstance(result, bytes) and result:
            k = block_new(&self.r.blocks, BLOCK_LARGE if large else BLOCK_SMALL)
            if not io.flags & IO_CLOSING:
                deliver(io, k, result)
            self.put_block(k)
        elif result == b"":
            if not io.flags & (IO_CLOSING | IO_EOF):
                io.flags |= IO_EOF
                io.flags &= ~<uint32_t>IO_RX_WANT
                io.on.on_eof(io)
        elif result != -ECANCELED:
            io_failed(io, -result)
        if io.flags & IO_CLOSING:
            self.maybe_gone(s, io)
        elif not io.flags & IO_RX_ARMED:
            self.rx(io)

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

    cdef void run(self, uint64_t wait_ns):
        cdef reactor_t *r = self.r
        cdef uint32_t before = r.cur
        self.flush()
        done = self.enter()
        if not done and not self.settle_soon:
            play_stage.clock_ns += wait_ns
        self.settle_soon = False
        r.now_ns = play_stage.clock_ns
        r.cur ^= 1
        for tag, s, result, more in done:
            self.on_cqe(tag, s, result, more)
        self.settle()
        self.reset_scratch(&r.scratch[before])


cdef engine_t COMPLETION = IN_MEMORY
COMPLETION.kind = ENGINE_URING
