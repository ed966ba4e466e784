"""Doors for tests onto the small parts: the timing wheel, blocks, slabs, inboxes, bodies."""
from libc.stdint cimport uint8_t, uint32_t, uint64_t, uintptr_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, memset
from fastmesh._core.http.body cimport BODY_DONE, BODY_OPEN, BODY_TRAILERS, body_init, body_step, body_t
from fastmesh._core.io.timer cimport (
    timer_arm, timer_cancel, timer_init, timer_t, timer_unlink, wheel_init, wheel_run, wheel_t, wheel_wait)
from fastmesh._core.mem.arena cimport heap_array, heap_free
from fastmesh._core.mem.block cimport (
    BLOCK_LARGE, BLOCK_SMALL, block_get, block_new, block_put, block_t, blocks_fini, blocks_init, blocks_t)
from fastmesh._core.mem.inbox cimport inbox_add, inbox_attach, inbox_clear, inbox_detach, inbox_t
from fastmesh._core.mem.slab cimport slab_fini, slab_give, slab_init, slab_t, slab_take
from fastmesh._core.mem.span cimport span_t

SMALL, LARGE = BLOCK_SMALL, BLOCK_LARGE
OPEN, TRAILERS, DONE = BODY_OPEN, BODY_TRAILERS, BODY_DONE


cdef void on_fire(timer_t *t, void *owner) noexcept with gil:
    (<Wheel>owner).fired(t)


cdef class Wheel:
    """A wheel with so many timers; `on_fire(i)` is called for each that is due."""
    cdef wheel_t *w
    cdef timer_t *timers
    cdef int n
    cdef public object on_fire
    cdef public object error

    def __cinit__(self, uint64_t now_ns, int n, on_fire):
        cdef int i
        # Not from mem/arena, whose live blocks other tests count: a wheel goes when the collector comes.
        self.w = <wheel_t *>calloc(1, sizeof(wheel_t))
        self.timers = <timer_t *>calloc(n, sizeof(timer_t))
        self.n = n
        self.on_fire = on_fire
        wheel_init(self.w, now_ns)
        for i in range(n):
            timer_init(&self.timers[i], on_fire_, <void *>self)

    cdef fired(self, timer_t *t):
        try:
            self.on_fire(<int>(t - self.timers))
        except BaseException as error:
            self.error = error

    def arm(self, int i, uint64_t deadline_ns):
        timer_arm(self.w, &self.timers[i], deadline_ns)

    def cancel(self, int i):
        timer_cancel(&self.timers[i])

    def unlink(self, int i):
        timer_unlink(self.w, &self.timers[i])

    def run(self, uint64_t now_ns):
        wheel_run(self.w, now_ns)
        if self.error is not None:
            raise self.error

    def wait(self, uint64_t now_ns, uint64_t most_ns):
        return wheel_wait(self.w, now_ns, most_ns)

    @property
    def count(self):
        return self.w.count

    def __dealloc__(self):
        free(self.w)
        free(self.timers)


cdef void (*on_fire_)(timer_t *, void *) noexcept nogil
on_fire_ = on_fire


cdef class Blocks:
    cdef blocks_t b
    cdef dict held

    def __cinit__(self):
        blocks_init(&self.b)
        self.held = {}

    cdef block_t *at(self, uintptr_t k) except NULL:
        return <block_t *>k

    def new(self, uint32_t cap, int fill):
        cdef block_t *k = block_new(&self.b, cap)
        memset(k.bytes, fill, k.cap)
        return <uintptr_t>k

    def get(self, uintptr_t k):
        block_get(self.at(k))

    def put(self, uintptr_t k):
        block_put(self.at(k))

    def look(self, uintptr_t k):
        """(references, capacity, bytes)"""
        return self.at(k).refs, self.at(k).cap, (<char *>self.at(k).bytes)[:self.at(k).cap]

    def counts(self):
        """(handed out, in existence, free small ones, free large ones)"""
        return self.b.live, self.b.total, self.b.n_free_small, self.b.n_free_large

    def close(self):
        blocks_fini(&self.b)


cdef class Slab:
    cdef slab_t s

    def __cinit__(self, uint32_t size, uint32_t per_chunk):
        slab_init(&self.s, size, per_chunk)

    def take(self, int fill):
        cdef void *p = slab_take(&self.s)
        memset(p, fill, self.s.size)
        return <uintptr_t>p

    def give(self, uintptr_t p):
        slab_give(&self.s, <void *>p)

    def read(self, uintptr_t p):
        return (<char *>p)[:self.s.size]

    @property
    def live(self):
        return self.s.live

    @property
    def size(self):
        return self.s.size

    def close(self):
        slab_fini(&self.s)


cdef class Inbox:
    cdef blocks_t blocks
    cdef inbox_t b

    def __cinit__(self):
        blocks_init(&self.blocks)
        memset(&self.b, 0, sizeof(inbox_t))

    def add(self, bytes what):
        cdef const char *p = what
        return inbox_add(&self.b, &self.blocks, <const uint8_t *>p, <uint32_t>len(what))

    def consume(self, uint32_t n, bint keep=False):
        """Takes the bytes out and puts all but the first n back, as a codec does. `keep`: somebody holds the block."""
        cdef const uint8_t *p = NULL
        cdef uint32_t have = 0
        cdef block_t *k = inbox_detach(&self.b, &p, &have)
        if keep:
            block_get(k)
        taken = (<char *>p)[:n]
        if n < have:
            inbox_attach(&self.b, k, p + n, have - n)
        else:
            block_put(k)
        return taken, <uintptr_t>k if keep else None

    def held(self, uintptr_t k):
        """The bytes of a block that is held, which is let go."""
        cdef block_t *b = <block_t *>k
        found = (<char *>b.bytes)[:b.cap]
        block_put(b)
        return found

    @property
    def content(self):
        return (<char *>self.b.blk.bytes + self.b.off)[:self.b.len] if self.b.len else b""

    @property
    def capacity(self):
        return self.b.blk.cap if self.b.blk is not NULL else 0

    def clear(self):
        inbox_clear(&self.b)

    @property
    def live(self):
        return self.blocks.live

    def close(self):
        inbox_clear(&self.b)
        blocks_fini(&self.blocks)


def step_body(int framing, uint64_t length, pieces):
    """(state, payload, bytes not used, was it refused) after these pieces, each at the end of its memory."""
    cdef body_t body
    cdef span_t payload
    cdef int rc
    cdef char *room
    cdef const char *p
    cdef uint32_t n
    memset(&body, 0, sizeof(body))
    body_init(&body, framing, length)
    found = b""
    rest = b""
    for piece in pieces:
        at = 0
        n = len(piece)
        room = <char *>heap_array(n if n else 1, 1)
        p = piece
        memcpy(room, p, n)
        while at < n and body.state == BODY_OPEN:
            rc = body_step(&body, <uint8_t *>room + <uint32_t>at, n - <uint32_t>at, &payload)
            if rc < 0:
                heap_free(room)
                return body.state, found, rest, True
            assert 0 < rc <= n - at
            if payload.len:
                found += (<char *>payload.ptr)[:payload.len]
            at += rc
        rest += piece[at:]
        heap_free(room)
    return body.state, found, rest, False
