"""Opaque bytes both ways between two sockets: TCP listeners, and connections after an Upgrade.

Small messages go through one block of memory; what comes in large pieces is moved by splice(2), page by page,
without being looked at. The end of one direction is passed on (half-close); the relay ends when both have ended,
when one side breaks, or when nothing moved for the idle time.
"""
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from fastmesh._core.io.reactor cimport io_t, reactor_t
from fastmesh._core.io.timer cimport timer_t
from fastmesh._core.mem.block cimport block_t
from fastmesh._core.mem.inbox cimport inbox_t
from fastmesh._core.mem.slab cimport slab_t

cdef enum:
    RELAY_DONE = 0            # both directions ended in order
    RELAY_IDLE = 1
    RELAY_BROKEN = 2          # an error on the first side (the client's)
    RELAY_BROKEN_UP = 3       # on the second
    RELAY_STANDS = 4          # it goes on

ctypedef struct lane_t:       # one direction
    io_t *source
    io_t *sink
    inbox_t *early            # what was received before the relay began
    block_t *held             # copied and not yet sent
    uint32_t held_off
    uint32_t held_len
    int pipe[2]               # -1 = none; borrowed from the pool of pipes while bytes are in it
    uint32_t pipe_len
    uint64_t moved
    uint64_t reported         # of that, what the owner has counted; the owner's
    uint8_t is_splicing
    uint8_t small             # small pieces in a row
    uint8_t eof               # the source has ended
    uint8_t shut              # and the sink was told

ctypedef struct relay_t:
    reactor_t *reactor
    slab_t *slab
    lane_t lanes[2]           # 0: first to second
    timer_t timer
    timer_t report            # runs while something has moved that the owner has not been told of
    uint64_t idle_ns
    uint64_t moved_seen
    uint8_t started
    uint8_t starts
    uint8_t running
    uint8_t ended_first       # 1 = the first side was the first to end, 2 = the second; 0 = none has ended
    void *owner
    # Once, and only while it is set: the second side has sent something or has ended, or has kept the connection for
    # some seconds. The owner sets it before the relay starts.
    void (*on_heard)(void *owner, relay_t *r) noexcept nogil
    void (*on_report)(void *owner, relay_t *r) noexcept nogil          # every few seconds in which something moved
    void (*on_end)(void *owner, relay_t *r, int how) noexcept nogil    # frees the relay with relay_free


# Something has come from the second side, sent on or not.
cdef inline bint relay_has_heard(const relay_t *r) noexcept nogil:
    cdef const lane_t *l = &r.lanes[1]
    return l.moved != 0 or l.held_len != 0 or l.pipe_len != 0 or (l.early is not NULL and l.early.len != 0)


# Both ios: receiving is switched off here; what their queues hold is sent first.
cdef relay_t *relay_new(reactor_t *reactor, slab_t *slab, io_t *first, inbox_t *first_early, io_t *second,
                        inbox_t *second_early, uint64_t idle_ns, void *owner,
                        void (*on_report)(void *, relay_t *) noexcept nogil,
                        void (*on_end)(void *, relay_t *, int) noexcept nogil) noexcept nogil
cdef void relay_on_ready(relay_t *r, io_t *io, int events) noexcept nogil     # READY_* on one of the two
# A receive that was under way when the relay began has failed, on the second side. Ends it.
cdef void relay_on_error_up(relay_t *r) noexcept nogil
cdef void relay_free(relay_t *r) noexcept nogil
cdef void pipes_close() noexcept nogil        # the spare pipes of this process
