"""Waiting, receiving and sending: one interface over two engines.

Everything is said in completion terms: bytes arrive, a queue has been sent, a connect is done.
io_uring does that as it is; epoll does the system call when the kernel says "ready".

One thread. A callback may call any function here, on any io, and may close any io; an io's
memory stays valid until its `on_closed`, which the reactor calls between turns.

Sending never blocks and never fails at once: bytes are put in the io's queue and flushed, one
system call per io, when the engine comes to it. Bytes put without a block are *ephemeral*: they lie
in the reactor's scratch memory, and what the kernel does not take at once is copied into blocks then.
"""
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from fastmesh._core.mem.block cimport block_t, blocks_t
from fastmesh._core.mem.slab cimport slab_t
from fastmesh._core.mem.counter cimport stats_t
from fastmesh._core.io.timer cimport wheel_t
from fastmesh._core.sys.socket cimport sockaddr, sockaddr_storage, socklen_t

cdef enum:
    # io_t.flags: what is wanted
    IO_RX_WANT = 1            # deliver bytes
    IO_BULK = 2               # a long body is on its way: receive into large blocks, one at a time
    IO_DIRTY = 4              # in the list of queues to flush
    IO_CLOSING = 8            # no callback but on_closed from now on
    IO_SHUT_WANT = 16         # close the sending side when the queue is empty
    IO_SHUT_DONE = 32
    IO_CLOSE_SENT = 64        # close when the queue is empty
    # what the engine knows
    IO_RX_ARMED = 128         # io_uring: a receive is in the kernel
    IO_RX_CANCEL = 256        # io_uring: and is being cancelled
    IO_RX_BULK = 512          # io_uring: it is a bulk receive
    IO_RX_READY = 1024        # epoll: readable, nobody has read yet
    IO_TX_WAIT = 2048         # the send buffer is full: waiting for room
    IO_TX_POLL = 4096         # io_uring: a poll for room is in the kernel
    IO_CONNECTING = 8192
    IO_EOF = 16384            # the peer has closed its side, and that was delivered
    IO_IN_READY = 32768       # epoll: in the list of ios to read again
    IO_FLUSHING = 65536       # io_uring: its queue is in the kernel this turn
    IO_WATCH = 131072         # readiness is reported instead of bytes
    IO_POLLING = 262144       # io_uring: the watch is in the kernel
    IO_LISTEN = 524288
    IO_FAILED = 1048576       # the kernel refused a send: reported once at the end of the turn
    IO_GONE = 2097152         # closed; waiting for its on_closed
    IO_AGAIN = 8388608        # in the list of io_again
    IO_FIRM = 16777216        # io_uring: whose memory is in the kernel is gone; a short send breaks the connection
    IO_RX_HUP_SEEN = 4194304  # epoll: the peer has closed its side, read until that shows
    IO_TX_BROKEN = 33554432   # epoll: a send failed; reported when all that came before has been read
    IO_HANGUP = 67108864      # the owner wants to hear of a reset also while it does not receive (io_hangup)
    IO_HANGUP_POLL = 134217728    # io_uring: a poll for that is in the kernel
    IO_FIRST = 268435456      # its events go before those of others in a batch
    IO_END = 536870912        # and of an end behind which nothing waits to be read (io_await_end)

    READY_IN = 1
    READY_OUT = 2
    READY_HUP = 4

    ENGINE_EPOLL = 1
    ENGINE_URING = 2

ctypedef struct slice_t:
    slice_t *next
    const uint8_t *ptr
    uint32_t len
    block_t *blk              # one reference; NULL = ephemeral

ctypedef struct io_ops_t:
    # Bytes [p, p+n) within `blk`, whose reference stays with the caller: take one to keep them.
    void (*on_bytes)(io_t *io, const uint8_t *p, uint32_t n, block_t *blk) noexcept nogil
    void (*on_eof)(io_t *io) noexcept nogil
    # The connection is broken (errno). Nothing more comes; the owner closes it.
    void (*on_error)(io_t *io, int err) noexcept nogil
    void (*on_connect)(io_t *io, int err) noexcept nogil       # 0, or errno
    # The queue, once above its mark, is at half of it or less.
    void (*on_drained)(io_t *io) noexcept nogil
    void (*on_accept)(io_t *io, int fd) noexcept nogil         # a new connection, or -errno when accepting paused
    void (*on_ready)(io_t *io, int events) noexcept nogil      # READY_*, edge triggered
    void (*on_closed)(io_t *io) noexcept nogil                 # nothing holds the io any more: free it

ctypedef struct io_t:
    int fd                    # owned until on_closed
    uint32_t flags
    const io_ops_t *on
    reactor_t *reactor
    slice_t *out_head         # queue towards the peer
    slice_t *out_tail
    uint32_t out_bytes
    uint32_t out_mark         # high watermark; on_drained is due when `out_over`
    uint64_t tx_total         # bytes the kernel has taken, ever
    uint8_t out_over
    uint8_t watch_events
    uint16_t inflight         # operations in the kernel that carry this pointer
    int tx_result             # io_uring: what a send that did not do all reported
    int err
    uint32_t tx_bytes         # io_uring: bytes of the queue that are in the kernel
    uint8_t tx_part           # io_uring: and more of this turn's stood behind them
    io_t *dirty_next
    io_t *flush_next
    io_t *gone_next
    io_t *ready_next          # epoll: the list of ios to read again
    io_t *again_next          # the list of io_again: an io may be in both

# The system calls on sockets that are made outside the engines: the kernel's own, as the manual has them, or what a
# test puts in their place.
ctypedef struct socket_calls_t:
    int (*socket)(int domain, int kind, int protocol) noexcept nogil
    int (*accept)(int fd, int flags) noexcept nogil
    int (*peer)(int fd, sockaddr_storage *to, socklen_t *n) noexcept nogil
    int (*setsockopt)(int fd, int level, int name, const void *value, socklen_t n) noexcept nogil
    int (*getsockopt)(int fd, int level, int name, void *value, socklen_t *n) noexcept nogil
    ssize_t (*recv)(int fd, void *to, size_t n, int flags) noexcept nogil
    ssize_t (*send)(int fd, const void *what, size_t n, int flags) noexcept nogil
    ssize_t (*splice)(int fd_in, int fd_out, size_t n, unsigned int flags) noexcept nogil
    int (*unsent)(int fd) noexcept nogil                       # bytes that the peer has not acknowledged
    int (*shutdown)(int fd, int how) noexcept nogil
    int (*close)(int fd) noexcept nogil

ctypedef struct engine_t:
    const char *name
    int kind
    int (*open)(reactor_t *r) noexcept nogil                   # FM_OK or -errno
    void (*close)(reactor_t *r) noexcept nogil
    int (*add)(reactor_t *r, io_t *io) noexcept nogil          # make the fd known
    void (*rx)(reactor_t *r, io_t *io) noexcept nogil          # IO_RX_WANT or IO_BULK changed
    void (*listen)(reactor_t *r, io_t *io, bint on) noexcept nogil
    void (*connect)(reactor_t *r, io_t *io, const sockaddr *to, socklen_t n) noexcept nogil
    void (*watch)(reactor_t *r, io_t *io) noexcept nogil       # watch_events changed
    void (*drop)(reactor_t *r, io_t *io) noexcept nogil        # close; io_gone(io) when the kernel holds nothing
    void (*turn)(reactor_t *r, uint64_t wait_ns) noexcept nogil
    uint64_t (*now)() noexcept nogil                           # CLOCK_MONOTONIC in ns, or a clock that a test moves
    const socket_calls_t *calls

# Work that is better done when nothing else is on the stack: once, at the end of this turn or the next.
ctypedef struct soon_t:
    soon_t *next
    void (*run)(soon_t *k) noexcept nogil
    uint8_t is_due

cdef enum:
    SCRATCH_CHUNK = 98304     # room for the largest head and what is added to it
    SCRATCH_KEEP = 6

ctypedef struct scratch_t:
    uint8_t *chunks[512]
    uint32_t n                # chunks that exist
    uint32_t at               # chunk in use
    uint32_t used             # bytes of it

ctypedef struct reactor_t:
    const engine_t *engine
    void *state               # the engine's own
    uint64_t now_ns           # read once per batch of events
    wheel_t wheel
    blocks_t blocks
    slab_t slices
    scratch_t scratch[2]      # two, since io_uring needs last turn's until its results are in
    uint32_t cur
    io_t *dirty
    io_t *dirty_tail
    io_t *gone
    io_t *again               # watched ios whose turn was over before their work was
    soon_t *soon
    soon_t *soon_tail
    stats_t *stats
    bint stop                 # leave reactor_run
    uint32_t n_open           # ios between io_open and on_closed


cdef const engine_t *engine_uring
cdef const engine_t *engine_epoll
cdef const socket_calls_t *kernel_calls

cdef reactor_t *reactor_new(const engine_t *engine, stats_t *stats, int *err) noexcept nogil
cdef void reactor_free(reactor_t *r) noexcept nogil
# One wait and everything it brought, at most `most_ns`.
cdef void reactor_turn(reactor_t *r, uint64_t most_ns) noexcept nogil

# --- life of an io ---------------------------------------------------------------------------
# Takes ownership of fd. FM_OK, or FM_ESYS (then fd is closed and the io untouched by the kernel).
cdef int io_open(reactor_t *r, io_t *io, int fd, const io_ops_t *on) noexcept nogil
cdef void io_connect(io_t *io, const sockaddr *to, socklen_t n) noexcept nogil
cdef void io_close(io_t *io) noexcept nogil                    # at once, the queue is dropped
cdef void io_close_sent(io_t *io) noexcept nogil               # when the queue is empty
cdef void io_shut(io_t *io) noexcept nogil                     # half-close when the queue is empty
cdef void io_reset(io_t *io) noexcept nogil                    # close with RST

cdef void io_rx(io_t *io, bint on) noexcept nogil
# From now on `on_error` comes at once when the peer resets, received bytes that nobody has read notwithstanding. Not
# for who still wants those bytes.
cdef void io_hangup(io_t *io) noexcept nogil
# For who has not begun to receive: `on_error` besides when the peer has gone altogether, or has ended its side with
# nothing left to read. Until io_await_begin.
cdef void io_await_end(io_t *io) noexcept nogil
cdef void io_await_begin(io_t *io) noexcept nogil
cdef void io_bulk(io_t *io, bint on) noexcept nogil
cdef void io_listen(io_t *io, bint on) noexcept nogil
# Readiness instead of bytes, for splice: receiving must be off and idle (io_rx_idle).
cdef void io_watch(io_t *io, int events) noexcept nogil
cdef bint io_rx_idle(io_t *io) noexcept nogil
# Calls on_ready(READY_IN | READY_OUT) in the next turn: for who stops before the kernel said "nothing more".
cdef void io_again(io_t *io) noexcept nogil

# --- sending ---------------------------------------------------------------------------------
cdef uint8_t *scratch_take(reactor_t *r, uint32_t n) noexcept nogil     # ephemeral memory, n <= SCRATCH_CHUNK
cdef void io_put_slice(io_t *io, const uint8_t *p, uint32_t n, block_t *blk) noexcept nogil
# A number that changes whenever the peer takes some of what was sent. `tx_total` moves too seldom for that: a send
# buffer of megabytes says it has room when a third of it is free. A system call: not for the usual path.
cdef uint64_t io_taken(io_t *io) noexcept nogil

# --- for the engines -------------------------------------------------------------------------
cdef void io_gone(io_t *io) noexcept nogil
cdef void io_sent(io_t *io, uint32_t n) noexcept nogil         # n bytes left the queue
cdef void io_keep(io_t *io) noexcept nogil                     # ephemeral slices become blocks
cdef void io_drop_queue(io_t *io) noexcept nogil
cdef void io_after_send(io_t *io) noexcept nogil               # queue empty or shorter: drained, shut, close
cdef void io_failed(io_t *io, int err) noexcept nogil
# Asks the kernel how a connection is that has told of an end (`has_gone`: of both directions) and is not received from:
# True when `on_error` was called for it.
cdef bint io_look_for_end(io_t *io, bint has_gone) noexcept nogil
# epoll: a send was refused. True: what the peer said before is to be read first, and then it is reported.
cdef bint io_send_failed(io_t *io, int err) noexcept nogil
cdef void scratch_reset(scratch_t *s) noexcept nogil


cdef inline void reactor_soon(reactor_t *r, soon_t *k) noexcept nogil:
    if k.is_due:
        return
    k.is_due = 1
    k.next = NULL
    if r.soon is NULL:
        r.soon = k
    else:
        r.soon_tail.next = k
    r.soon_tail = k


cdef inline uint64_t reactor_clock(reactor_t *r) noexcept nogil:
    """The time now; `r.now_ns` is that of the last batch of events."""
    return r.engine.now()


cdef inline void io_mark_dirty(io_t *io) noexcept nogil:
    cdef reactor_t *r = io.reactor
    if io.flags & IO_DIRTY:
        return
    io.flags |= IO_DIRTY
    io.dirty_next = NULL
    if r.dirty_tail is NULL:
        r.dirty = io
    else:
        r.dirty_tail.dirty_next = io
    r.dirty_tail = io


cdef inline io_t *io_take_dirty(reactor_t *r) noexcept nogil:
    """For the engines: the next whose queue is to be flushed, off the list; NULL when there is none."""
    cdef io_t *io = r.dirty
    if io is not NULL:
        r.dirty = io.dirty_next
        if r.dirty is NULL:
            r.dirty_tail = NULL
        io.flags &= ~<uint32_t>IO_DIRTY
    return io


cdef inline void io_read_later(io_t *io, io_t **ready) noexcept nogil:
    """For epoll: on its list of ios to read again."""
    if not io.flags & IO_IN_READY:
        io.flags |= IO_IN_READY
        io.ready_next = ready[0]
        ready[0] = io


cdef inline uint8_t *io_reserve(io_t *io, uint32_t n) noexcept nogil:
    """Room for n ephemeral bytes; io_commit says how many were used."""
    return scratch_take(io.reactor, n)


cdef inline void io_commit(io_t *io, uint8_t *p, uint32_t used) noexcept nogil:
    """Queues [p, p+used) of the last io_reserve and gives the rest of it back."""
    cdef scratch_t *s = &io.reactor.scratch[io.reactor.cur]
    s.used = <uint32_t>(p + used - s.chunks[s.at])
    if io.out_tail is not NULL and io.out_tail.blk is NULL and io.out_tail.ptr + io.out_tail.len == p:
        # Grows the piece before it: head and a small body leave as one. A piece that is in the kernel lies
        # in the other scratch memory and never ends here: engines submit and change it in one go.
        io.out_tail.len += used
        io.out_bytes += used
        io_mark_dirty(io)
        return
    io_put_slice(io, p, used, NULL)
