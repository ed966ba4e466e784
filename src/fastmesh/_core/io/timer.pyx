"""See timer.pxd."""

cdef extern from *:
    int __builtin_ctzll(unsigned long long v) nogil


cdef void wheel_init(wheel_t *w, uint64_t now_ns) noexcept nogil:
    cdef uint32_t i
    w.tick = now_ns >> WHEEL_SHIFT
    w.count = 0
    for i in range(WHEEL_SLOTS * WHEEL_LEVELS):
        w.slots[i].next = &w.slots[i]
        w.slots[i].prev = &w.slots[i]
    for i in range(12):
        w.used[i] = 0


cdef void timer_link(wheel_t *w, timer_t *t) noexcept nogil:
    cdef uint64_t due = (t.deadline_ns >> WHEEL_SHIFT) + 1     # rounded up: never early
    cdef uint64_t ahead
    cdef uint32_t at
    if due <= w.tick:
        due = w.tick + 1
    ahead = due - w.tick
    if ahead < WHEEL_SLOTS:
        at = <uint32_t>(due & 255)
        t.slot_ns = due << WHEEL_SHIFT
    elif ahead < (WHEEL_SLOTS << 8):
        at = 256 + <uint32_t>((due >> 8) & 255)
        t.slot_ns = (due >> 8) << (8 + WHEEL_SHIFT)
    else:
        if ahead >= <uint64_t>WHEEL_SLOTS << 16:
            # Further than the wheel reaches (19 hours): it is put back when its slot comes round.
            due = w.tick + (<uint64_t>WHEEL_SLOTS << 16) - 1
        at = 512 + <uint32_t>((due >> 16) & 255)
        t.slot_ns = (due >> 16) << (16 + WHEEL_SHIFT)
    t.next = &w.slots[at]
    t.prev = w.slots[at].prev
    t.prev.next = t
    w.slots[at].prev = t
    w.used[at >> 6] |= <uint64_t>1 << (at & 63)
    w.count += 1


cdef void timer_unlink(wheel_t *w, timer_t *t) noexcept nogil:
    if t.next is NULL:
        return
    t.next.prev = t.prev
    t.prev.next = t.next
    t.next = NULL
    t.prev = NULL
    w.count -= 1


cdef void _empty(wheel_t *w, uint32_t at, uint64_t now_ns) noexcept nogil:
    cdef timer_t *head = &w.slots[at]
    cdef timer_t *t
    cdef timer_t moving
    w.used[at >> 6] &= ~(<uint64_t>1 << (at & 63))
    if head.next == head:
        return
    # The chain leaves the wheel first: a timer that fires may link others into this very slot.
    moving.next = head.next
    moving.prev = head.prev
    moving.next.prev = &moving
    moving.prev.next = &moving
    head.next = head
    head.prev = head
    while moving.next != &moving:
        t = moving.next
        timer_unlink(w, t)
        if t.deadline_ns == 0:
            continue
        if t.deadline_ns <= now_ns:
            t.deadline_ns = 0
            t.fire(t, t.owner)
        else:
            timer_link(w, t)


cdef void wheel_run(wheel_t *w, uint64_t now_ns) noexcept nogil:
    cdef uint64_t until = now_ns >> WHEEL_SHIFT
    if w.count == 0:
        w.tick = until if until > w.tick else w.tick
        return
    while w.tick < until:
        w.tick += 1
        if (w.tick & 255) == 0:
            if ((w.tick >> 8) & 255) == 0:
                _empty(w, 512 + <uint32_t>((w.tick >> 16) & 255), now_ns)
            _empty(w, 256 + <uint32_t>((w.tick >> 8) & 255), now_ns)
        _empty(w, <uint32_t>(w.tick & 255), now_ns)


cdef uint64_t wheel_wait(wheel_t *w, uint64_t now_ns, uint64_t most_ns) noexcept nogil:
    cdef uint64_t at_ns, bits
    cdef uint32_t from_slot, word, _step
    if w.count == 0:
        return most_ns
    # Only level 0 is looked at, up to its next turn: there the higher levels are poured down.
    from_slot = <uint32_t>((w.tick + 1) & 255)
    if from_slot == 0:
        return _until(w.tick + 1, now_ns, most_ns)
    word = from_slot >> 6
    bits = w.used[word] & (<uint64_t>-1 << (from_slot & 63))
    for _step in range(4):
        if bits != 0:
            at_ns = (w.tick & ~<uint64_t>255) + (word << 6) + <uint32_t>__builtin_ctzll(bits)
            return _until(at_ns, now_ns, most_ns)
        word += 1
        if word == 4:
            break
        bits = w.used[word]
    return _until((w.tick & ~<uint64_t>255) + 256, now_ns, most_ns)


cdef inline uint64_t _until(uint64_t tick, uint64_t now_ns, uint64_t most_ns) noexcept nogil:
    cdef uint64_t at_ns = tick << WHEEL_SHIFT
    if at_ns <= now_ns:
        return 0
    at_ns -= now_ns
    return at_ns if at_ns < most_ns else most_ns
