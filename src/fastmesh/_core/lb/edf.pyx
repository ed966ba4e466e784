"""Weighted turns: an earliest-deadline-first schedule over the endpoints of a cluster."""
from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memset
from fastmesh._core.mem.arena cimport heap_array, heap_free, heap_new
from fastmesh._core.mem.hash cimport fm_mul_high
from fastmesh._core.mem.rng cimport rng_next
from fastmesh._core.lb.cluster cimport cluster_weight, endpoint_is_usable

cdef extern from *:
    """
    static inline unsigned fm_lowest_bit(unsigned long long word) { return (unsigned)__builtin_ctzll(word); }
    """
    uint32_t fm_lowest_bit(uint64_t word) noexcept nogil

cdef enum:
    ASIDE_CAP = 16            # tried endpoints that one pick steps around before it scans
    DAYS_MIN = 64             # one word of `filled`
    WRONG = 4                 # turns and days passed by for each pick that say that days have the wrong length
    SHIFT_MAX = 60

cdef uint64_t GOLDEN = 0x9E3779B97F4A7C15


cdef edf_t *edf_new(const cluster_t *c, uint32_t active_max) noexcept nogil:
    cdef edf_t *q = <edf_t *>heap_new(sizeof(edf_t))
    cdef uint32_t days = DAYS_MIN
    while days < c.n and days < <uint32_t>1 << 24:
        days *= 2
    q.slots = c.n
    q.mask = days - 1
    q.turns = <turn_t *>heap_array(c.n, sizeof(turn_t))
    q.parked = <uint32_t *>heap_array(c.n, sizeof(uint32_t))
    q.days = <uint32_t *>heap_array(days, sizeof(uint32_t))
    q.filled = <uint64_t *>heap_array(days // 64, sizeof(uint64_t))
    # Deadlines stay below 2**63: at most 2**62 before they are rebased, plus one stretched stride.
    q.unit = (<uint64_t>1 << 61) // active_max
    set_strides(q, c)
    return q


cdef void edf_free(edf_t *q) noexcept nogil:
    if q is NULL:
        return
    heap_free(q.turns)
    heap_free(q.parked)
    heap_free(q.days)
    heap_free(q.filled)
    heap_free(q)


cdef void set_strides(edf_t *q, const cluster_t *c) noexcept nogil:
    """As the weights are now; and days about as long as the time between two turns."""
    cdef uint64_t total = 0
    cdef uint32_t weight, slot
    cdef uint64_t gap
    q.n = 0
    for slot in range(c.n):
        weight = cluster_weight(c, slot)
        q.turns[slot].stride = q.unit // weight if weight != 0 else 0
        q.n += weight != 0
        total += weight
    gap = q.unit // total if total != 0 else q.unit
    q.shift = 0
    while gap > 1:
        gap >>= 1
        q.shift += 1
    q.shift += 1


cdef void edf_weigh(edf_t *q, const cluster_t *c) noexcept nogil:
    cdef turn_t *t
    cdef uint64_t before
    cdef uint64_t phase = 0
    cdef uint32_t slot
    if not q.is_started:
        set_strides(q, c)
        return
    rebase(q)
    for slot in range(q.slots):
        t = &q.turns[slot]
        before = t.stride
        t.stride = q.unit // cluster_weight(c, slot) if cluster_weight(c, slot) != 0 else 0
        if before == 0 or t.is_parked:
            # As if it had been served just now, but not all at once; whoever is to be avoided still is parked again.
            phase += GOLDEN
            t.deadline = t.stride - fm_mul_high(t.stride // 2, phase)
        else:
            # Below 2**53 of stride the quotient is exact enough; and the product is at most active_max strides.
            t.deadline = <uint64_t>(<double>t.deadline * (<double>t.stride / <double>before))
        t.is_parked = 0
    set_strides(q, c)
    q.n_parked = 0
    enter_all(q)


# --- the calendar ---

cdef inline void enter(edf_t *q, uint32_t slot) noexcept nogil:
    cdef turn_t *t = &q.turns[slot]
    cdef uint64_t day = t.deadline >> q.shift
    cdef uint32_t at
    # What is late is due today.
    at = <uint32_t>(day if day > q.day else q.day) & q.mask
    t.next = q.days[at]
    q.days[at] = slot + 1
    q.filled[at >> 6] |= <uint64_t>1 << (at & 63)
    q.n_in += 1


cdef inline void leave(edf_t *q, uint32_t at, uint32_t *link) noexcept nogil:
    """`link` leads to it, in the list `at`."""
    link[0] = q.turns[link[0] - 1].next
    if q.days[at] == 0:
        q.filled[at >> 6] &= ~(<uint64_t>1 << (at & 63))
    q.n_in -= 1


cdef void enter_all(edf_t *q) noexcept nogil:
    """All that have turns and are not parked."""
    cdef uint32_t slot
    memset(q.days, 0, (<size_t>q.mask + 1) * sizeof(uint32_t))
    memset(q.filled, 0, (<size_t>q.mask + 1) // 64 * sizeof(uint64_t))
    q.n_in = 0
    q.day = q.now >> q.shift
    q.picks = 0
    q.crowd = 0
    q.later = 0
    for slot in range(q.slots):
        if q.turns[slot].stride != 0 and not q.turns[slot].is_parked:
            enter(q, slot)


cdef uint32_t *due_today(edf_t *q) noexcept nogil:
    """The link that leads to the earliest turn of today; NULL: there is none."""
    cdef uint32_t *link = &q.days[<uint32_t>q.day & q.mask]
    cdef uint32_t *found = NULL
    cdef uint64_t least = (q.day + 1) << q.shift
    cdef turn_t *t
    while link[0] != 0:
        t = &q.turns[link[0] - 1]
        if t.deadline < least:
            q.crowd += found is not NULL
            least = t.deadline
            found = link
        elif found is not NULL and t.deadline >> q.shift <= q.day:
            q.crowd += 1
        else:
            q.later += 1
        link = &t.next
    return found


cdef void next_filled(edf_t *q) noexcept nogil:
    """The next day whose list is not empty, after today; there is one."""
    cdef uint32_t at = (<uint32_t>q.day & q.mask) + 1
    cdef uint32_t word = (at & q.mask) >> 6
    cdef uint64_t bits = q.filled[word] & (~<uint64_t>0 << (at & 63))
    cdef uint32_t found
    while bits == 0:
        word = (word + 1) & (q.mask >> 6)
        bits = q.filled[word]
        q.later += 1
    found = (word << 6) + fm_lowest_bit(bits)
    # Today itself is a year away.
    q.day += ((found - at) & q.mask) + 1


cdef void first_day(edf_t *q) noexcept nogil:
    """A year without any turn: whatever is due first."""
    cdef uint64_t least = <uint64_t>-1
    cdef uint32_t slot
    for slot in range(q.slots):
        if q.turns[slot].stride != 0 and not q.turns[slot].is_parked and q.turns[slot].deadline < least:
            least = q.turns[slot].deadline
    q.day = least >> q.shift
    q.later += q.slots


cdef uint32_t *earliest(edf_t *q) noexcept nogil:
    """The link that leads to the earliest turn of all; there is one in the calendar."""
    cdef uint64_t began = q.day
    cdef uint32_t *link = due_today(q)
    while link is NULL:
        if q.day - began > q.mask:
            first_day(q)
            began = q.day
        else:
            next_filled(q)
        link = due_today(q)
    return link


cdef void measure_days(edf_t *q) noexcept nogil:
    """Longer ones where picks walk over many days and turns of others, shorter ones where many are due on one. The load
    that stretches turns comes and goes."""
    cdef uint32_t shift = q.shift
    if q.later > WRONG * q.picks and q.later > q.crowd and shift < SHIFT_MAX:
        shift += 1
    elif q.crowd > WRONG * q.picks and shift > 0:
        shift -= 1
    q.picks = 0
    q.crowd = 0
    q.later = 0
    if shift != q.shift:
        q.shift = shift
        enter_all(q)


cdef void start(edf_t *q, uint64_t *rng) noexcept nogil:
    # Picks begin at a random moment of a schedule that has always been running, with random phases:
    # workers that start together do not send their first requests to the same endpoint.
    cdef uint64_t phase = rng_next(rng)
    cdef uint64_t began = rng_next(rng) % q.unit
    cdef uint64_t first, stride
    cdef uint32_t slot
    for slot in range(q.slots):
        stride = q.turns[slot].stride
        if stride == 0:
            continue
        first = fm_mul_high(stride, phase)
        phase += GOLDEN
        if first < began:
            first += ((began - first + stride - 1) // stride) * stride
        q.turns[slot].deadline = first
    q.now = began
    enter_all(q)
    q.is_started = 1


cdef void rebase(edf_t *q) noexcept nogil:
    cdef uint32_t slot
    for slot in range(q.slots):
        q.turns[slot].deadline = q.turns[slot].deadline - q.now if q.turns[slot].deadline > q.now else 0
    q.now = 0


# --- picks ---

cdef inline void park(edf_t *q, uint32_t slot) noexcept nogil:
    q.turns[slot].is_parked = 1
    q.parked[q.n_parked] = slot
    q.n_parked += 1


cdef inline uint32_t unpark(edf_t *q, uint32_t at) noexcept nogil:
    """As if it had been served just now: what it missed is not made up for, else it would get every request."""
    cdef uint32_t slot = q.parked[at]
    q.n_parked -= 1
    q.parked[at] = q.parked[q.n_parked]
    q.turns[slot].is_parked = 0
    q.turns[slot].deadline = q.now + q.turns[slot].stride
    return slot


cdef inline endpoint_t *take(edf_t *q, cluster_t *c, uint32_t slot, bint by_load) noexcept nogil:
    """It is not in the calendar, and is put down for its next turn."""
    cdef turn_t *t = &q.turns[slot]
    cdef endpoint_t *e = &c.endpoints[slot]
    cdef uint64_t factor
    if t.deadline > q.now:
        q.now = t.deadline
    if by_load:
        factor = <uint64_t>e.live.active + 1
        t.deadline = q.now + t.stride * (factor if factor < 4096 else 4096)
    else:
        t.deadline += t.stride
    enter(q, slot)
    q.picks += 1
    if q.picks >= q.slots + 64:
        measure_days(q)
    if q.now >= <uint64_t>1 << 62:
        rebase(q)
        enter_all(q)
    return e


cdef uint32_t *scan(edf_t *q, cluster_t *c, uint64_t now_ns, endpoint_t **tried, uint32_t n_tried,
                    uint32_t *found_at) noexcept nogil:
    """The link to the earliest usable one in the calendar, and its list; NULL: there is none."""
    cdef uint64_t least = <uint64_t>-1
    cdef uint32_t *found = NULL
    cdef uint32_t *link
    cdef uint32_t at
    for at in range(q.mask + 1):
        link = &q.days[at]
        while link[0] != 0:
            if (q.turns[link[0] - 1].deadline < least and
                    endpoint_is_usable(&c.endpoints[link[0] - 1], now_ns, tried, n_tried)):
                least = q.turns[link[0] - 1].deadline
                found = link
                found_at[0] = at
            link = &q.turns[link[0] - 1].next
    return found


cdef endpoint_t *edf_pick(edf_t *q, cluster_t *c, bint by_load, uint64_t now_ns, uint64_t *rng,
                          endpoint_t **tried, uint32_t n_tried) noexcept nogil:
    cdef uint32_t aside[ASIDE_CAP]
    cdef uint32_t n_aside = 0
    cdef uint32_t i, at, slot
    cdef uint32_t *link
    cdef endpoint_t *e
    cdef endpoint_t *found = NULL
    if not q.is_started:
        start(q, rng)
    if q.n_parked != 0:
        if q.cursor >= q.n_parked:
            q.cursor = 0
        if c.endpoints[q.parked[q.cursor]].live.avoid_until_ns <= now_ns:
            enter(q, unpark(q, q.cursor))
        else:
            q.cursor += 1
    while found is NULL and q.n_in != 0:
        if n_aside == ASIDE_CAP:
            link = scan(q, c, now_ns, tried, n_tried, &at)
            if link is NULL:
                break
        else:
            link = earliest(q)
            at = <uint32_t>q.day & q.mask
        slot = link[0] - 1
        leave(q, at, link)
        e = &c.endpoints[slot]
        if e.live.avoid_until_ns > now_ns:
            park(q, slot)
        elif n_tried == 0 or endpoint_is_usable(e, now_ns, tried, n_tried):
            found = take(q, c, slot, by_load)
        else:
            q.turns[slot].is_parked = 1
            aside[n_aside] = slot
            n_aside += 1
    # Tried ones keep their turn: another request may want them.
    for i in range(n_aside):
        q.turns[aside[i]].is_parked = 0
        enter(q, aside[i])
    if found is NULL:
        # Nothing usable in the calendar: one of the parked may have been let off meanwhile.
        for i in range(q.n_parked):
            if endpoint_is_usable(&c.endpoints[q.parked[i]], now_ns, tried, n_tried):
                return take(q, c, unpark(q, i), by_load)
    return found
