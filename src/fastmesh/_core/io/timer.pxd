"""A timing wheel: arm, re-arm and cancel in constant time, no allocation.

Three levels of 256 slots; a slot of the lowest is 2**22 ns (4.2 ms), so deadlines are kept to about
that. Moving a deadline later, which every request does, only writes a number: the entry stays in its slot and
is put further back when the slot comes round (Varghese and Lauck, 1987, scheme 6 with lazy re-arming).
"""
from libc.stdint cimport uint32_t, uint64_t

cdef enum:
    WHEEL_SLOTS = 256
    WHEEL_LEVELS = 3
    WHEEL_SHIFT = 22          # log2 of the ns in a slot of level 0

ctypedef struct timer_t:
    timer_t *next             # NULL = not in the wheel
    timer_t *prev
    uint64_t deadline_ns      # when to fire; 0 = cancelled, but perhaps still linked
    uint64_t slot_ns          # when the slot it sits in comes round
    void (*fire)(timer_t *t, void *owner) noexcept nogil
    void *owner

ctypedef struct wheel_t:
    uint64_t tick             # level-0 slots passed
    timer_t slots[768]        # list heads
    uint64_t used[12]         # a bit per slot that may hold something
    uint32_t count


cdef void wheel_init(wheel_t *w, uint64_t now_ns) noexcept nogil
cdef void timer_link(wheel_t *w, timer_t *t) noexcept nogil
cdef void timer_unlink(wheel_t *w, timer_t *t) noexcept nogil
# Fires what is due. A timer may re-arm itself or others, and free its owner.
cdef void wheel_run(wheel_t *w, uint64_t now_ns) noexcept nogil
# ns until something may be due, at most `most_ns`.
cdef uint64_t wheel_wait(wheel_t *w, uint64_t now_ns, uint64_t most_ns) noexcept nogil


cdef inline void timer_init(timer_t *t, void (*fire)(timer_t *, void *) noexcept nogil, void *owner) noexcept nogil:
    t.next = NULL
    t.prev = NULL
    t.deadline_ns = 0
    t.slot_ns = 0
    t.fire = fire
    t.owner = owner


cdef inline void timer_arm(wheel_t *w, timer_t *t, uint64_t deadline_ns) noexcept nogil:
    t.deadline_ns = deadline_ns
    if t.next is not NULL:
        if t.slot_ns <= deadline_ns:
            return
        timer_unlink(w, t)
    timer_link(w, t)


cdef inline void timer_cancel(timer_t *t) noexcept nogil:
    """Forgets the deadline; the entry leaves the wheel by itself."""
    t.deadline_ns = 0
