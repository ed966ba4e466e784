"""Loops in C over the smallest operations, for bench/micro: a call from Python costs more than any of them."""
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memset
from fastmesh._core.io.timer cimport (
    timer_arm, timer_init, timer_t, timer_unlink, wheel_init, wheel_run, wheel_t)
from fastmesh._core.mem.block cimport (
    BLOCK_SMALL, block_get, block_new, block_put, block_t, blocks_fini, blocks_init, blocks_t)
from fastmesh._core.mem.inbox cimport inbox_add, inbox_attach, inbox_clear, inbox_detach, inbox_t
from fastmesh._core.mem.slab cimport slab_fini, slab_give, slab_init, slab_t, slab_take

cdef enum:
    TIMERS = 1000
    PIECE = 200               # bytes of a small request
    OBJECT = 512

cdef uint64_t SECOND = 1000000000
cdef uint64_t fired = 0


cdef void on_fire(timer_t *t, void *owner) noexcept nogil:
    global fired
    fired += 1


def block_loop(int loops):
    """A block taken, shared, and given back twice."""
    cdef blocks_t blocks
    cdef block_t *k
    blocks_init(&blocks)
    with nogil:
        while loops > 0:
            loops -= 1
            k = block_new(&blocks, BLOCK_SMALL)
            block_get(k)
            block_put(k)
            block_put(k)
        blocks_fini(&blocks)
    return blocks.live


def inbox_loop(int loops):
    """Two pieces arrive; the first is taken out, then the rest."""
    cdef blocks_t blocks
    cdef inbox_t box
    cdef uint8_t piece[PIECE]
    cdef const uint8_t *p = NULL
    cdef uint32_t n = 0
    cdef block_t *k
    blocks_init(&blocks)
    memset(&box, 0, sizeof(inbox_t))
    memset(piece, 1, PIECE)
    with nogil:
        while loops > 0:
            loops -= 1
            inbox_add(&box, &blocks, piece, PIECE)
            inbox_add(&box, &blocks, piece, PIECE)
            k = inbox_detach(&box, &p, &n)
            inbox_attach(&box, k, p + PIECE, n - PIECE)
            inbox_clear(&box)
        blocks_fini(&blocks)
    return blocks.live


def slab_loop(int loops):
    """An object given back and one taken, eight of them in turn, which no compiler folds into nothing."""
    cdef slab_t slab
    cdef void *held[8]
    cdef int i
    slab_init(&slab, OBJECT, 64)
    with nogil:
        for i in range(8):
            held[i] = slab_take(&slab)
        for i in range(loops):
            slab_give(&slab, held[i & 7])
            held[i & 7] = slab_take(&slab)
        for i in range(8):
            slab_give(&slab, held[i])
    live = slab.live
    slab_fini(&slab)
    return live


def timer_loop(str kind, int loops):
    """`later`: a deadline moved on, as each request does. `anew`: linked and unlinked. `fire`: linked, and gone off."""
    cdef wheel_t *wheel = <wheel_t *>calloc(1, sizeof(wheel_t))
    cdef timer_t *timers = <timer_t *>calloc(TIMERS, sizeof(timer_t))
    cdef uint64_t now = SECOND
    cdef timer_t *t
    cdef int i
    cdef bint is_later = kind == "later", is_anew = kind == "anew"
    global fired
    fired = 0
    wheel_init(wheel, now)
    with nogil:
        for i in range(TIMERS):
            timer_init(&timers[i], on_fire, NULL)
            if is_later:
                timer_arm(wheel, &timers[i], now + SECOND)
        for i in range(loops):
            t = &timers[i % TIMERS]
            if is_later:
                timer_arm(wheel, t, now + 2 * SECOND + i)
            elif is_anew:
                timer_arm(wheel, t, now + SECOND + <uint64_t>(i % 60) * SECOND)
                timer_unlink(wheel, t)
            else:
                timer_arm(wheel, t, now + 100000000)
                if i % TIMERS == TIMERS - 1:
                    now += SECOND
                    wheel_run(wheel, now)
    free(wheel)
    free(timers)
    return fired
