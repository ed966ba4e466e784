"""Weighted turns: an earliest-deadline-first schedule over the endpoints of a cluster."""
from libc.stdint cimport uint32_t, uint64_t
from fastmesh._core.mem.arena cimport heap_array, heap_free, heap_new
from fastmesh._core.mem.hash cimport fm_mul_high
from fastmesh._core.mem.rng cimport rng_next
from fastmesh._core.lb.cluster cimport cluster_weight, endpoint_is_usable

cdef enum:
    TURNS_PAD = 3             # turns[1], the first of four children, begins a cache line
    ASIDE_CAP = 16            # tried endpoints that one pick steps around before it scans


cdef edf_t *edf_new(const cluster_t *c, uint32_t active_max) noexcept nogil:
    cdef edf_t *q = <edf_t *>heap_new(sizeof(edf_t))
    cdef uint32_t weight
    cdef uint32_t i
    q.block = heap_array(<size_t>c.n + TURNS_PAD, sizeof(turn_t))
    q.turns = <turn_t *>q.block + TURNS_PAD
    q.strides = <uint64_t *>heap_array(c.n, sizeof(uint64_t))
    # Deadlines stay below 2**63: at most 2**62 before they are rebased, plus one stretched stride.
    q.unit = (<uint64_t>1 << 61) // active_max
    for i in range(c.n):
        weight = cluster_weight(c, i)
        if weight != 0:
            q.strides[i] = q.unit // weight
            q.turns[q.n].slot = i
            q.n += 1
    return q


cdef void edf_weigh(edf_t *q, const cluster_t *c) noexcept nogil:
    cdef uint32_t before = q.n
    cdef uint32_t kept = 0
    cdef uint32_t weight, slot, i
    cdef uint64_t stride
    cdef turn_t turn
    if q.is_started:
        rebase(q)
    for i in range(before):
        turn = q.turns[i]
        weight = cluster_weight(c, turn.slot)
        if weight == 0:
            continue
        stride = q.unit // weight
        # Parked ones come back as if they had been served just now; whoever is to be avoided still is parked again.
        # Below 2**53 of stride the quotient is exact enough; and the product is at most active_max strides.
        turn.deadline = (stride if i >= q.n_heap else
                         <uint64_t>(<double>turn.deadline * (<double>stride / <double>q.strides[turn.slot])))
        q.turns[kept] = turn
        kept += 1
    q.n = kept
    for slot in range(c.n):
        weight = cluster_weight(c, slot)
        if weight != 0 and q.strides[slot] == 0:
            q.turns[q.n].slot = slot
            q.turns[q.n].deadline = q.unit // weight
            q.n += 1
        q.strides[slot] = q.unit // weight if weight != 0 else 0
    if q.is_started:
        heapify(q)


cdef void edf_free(edf_t *q) noexcept nogil:
    if q is NULL:
        return
    heap_free(q.block)
    heap_free(q.strides)
    heap_free(q)


cdef inline void sift_down(turn_t *t, uint32_t n, uint32_t at) noexcept nogil:
    # Four children share a cache line: half the levels of a binary heap, and each level is one line. The least of
    # them is found without jumps, as nothing could predict them.
    cdef turn_t moving = t[at]
    cdef const turn_t *four
    cdef uint32_t child, low, high
    while True:
        child = 4 * at + 1
        if child + 4 <= n:
            four = &t[child]
            low = four[1].deadline < four[0].deadline
            high = 2 + <uint32_t>(four[3].deadline < four[2].deadline)
            child += high if four[high].deadline < four[low].deadline else low
        elif child < n:
            low = child
            child += 1
            while child < n:
                if t[child].deadline < t[low].deadline:
                    low = child
                child += 1
            child = low
        else:
            break
        if t[child].deadline >= moving.deadline:
            break
        t[at] = t[child]
        at = child
    t[at] = moving


cdef inline void sift_up(turn_t *t, uint32_t at) noexcept nogil:
    cdef turn_t moving = t[at]
    cdef uint32_t parent
    while at > 0:
        parent = (at - 1) >> 2
        if t[parent].deadline <= moving.deadline:
            break
        t[at] = t[parent]
        at = parent
    t[at] = moving


cdef void start(edf_t *q, uint64_t *rng) noexcept nogil:
    # Picks begin at a random moment of a schedule that has always been running, with random phases:
    # workers that start together do not send their first requests to the same endpoint.
    cdef uint64_t phase = rng_next(rng)
    cdef uint64_t began = rng_next(rng) % q.unit
    cdef uint64_t first, stride
    cdef uint32_t i
    for i in range(q.n):
        stride = q.strides[q.turns[i].slot]
        first = fm_mul_high(stride, phase)
        phase += <uint64_t>0x9E3779B97F4A7C15
        if first < began:
            first += ((began - first + stride - 1) // stride) * stride
        q.turns[i].deadline = first
    q.now = began
    heapify(q)
    q.is_started = 1


cdef void heapify(edf_t *q) noexcept nogil:
    """All of them into the heap."""
    cdef uint32_t i = q.n // 4 + 1
    q.n_heap = q.n
    while i > 0:
        i -= 1
        if i < q.n:
            sift_down(q.turns, q.n, i)


cdef inline void swap(turn_t *t, uint32_t i, uint32_t j) noexcept nogil:
    cdef turn_t was = t[i]
    t[i] = t[j]
    t[j] = was


cdef inline void remove_root(edf_t *q) noexcept nogil:
    # The root moves to the place just behind the heap.
    q.n_heap -= 1
    swap(q.turns, 0, q.n_heap)
    sift_down(q.turns, q.n_heap, 0)


cdef inline void unpark(edf_t *q, uint32_t at) noexcept nogil:
    # As if it had been served just now: what it missed is not made up for, else it would get every request.
    swap(q.turns, at, q.n_heap)
    q.turns[q.n_heap].deadline = q.now + q.strides[q.turns[q.n_heap].slot]
    q.n_heap += 1
    sift_up(q.turns, q.n_heap - 1)


cdef void rebase(edf_t *q) noexcept nogil:
    cdef uint32_t i
    for i in range(q.n):
        q.turns[i].deadline = q.turns[i].deadline - q.now if q.turns[i].deadline > q.now else 0
    q.now = 0


cdef inline endpoint_t *take(edf_t *q, cluster_t *c, uint32_t at, bint by_load) noexcept nogil:
    cdef turn_t *t = &q.turns[at]
    cdef endpoint_t *e = &c.endpoints[t.slot]
    cdef uint64_t stride = q.strides[t.slot]
    cdef uint64_t factor
    if t.deadline > q.now:
        q.now = t.deadline
    if by_load:
        factor = <uint64_t>e.live.active + 1
        stride *= factor if factor < 4096 else 4096
        t.deadline = q.now + stride
    else:
        t.deadline += stride
    sift_down(q.turns, q.n_heap, at)
    if q.now >= <uint64_t>1 << 62:
        rebase(q)
    return e


cdef endpoint_t *scan(edf_t *q, cluster_t *c, bint by_load, uint64_t now_ns,
                      endpoint_t **tried, uint32_t n_tried) noexcept nogil:
    cdef uint32_t best = q.n
    cdef uint32_t i
    for i in range(q.n_heap):
        if ((best == q.n or q.turns[i].deadline < q.turns[best].deadline) and
                endpoint_is_usable(&c.endpoints[q.turns[i].slot], now_ns, tried, n_tried)):
            best = i
    return take(q, c, best, by_load) if best != q.n else NULL


cdef endpoint_t *edf_pick(edf_t *q, cluster_t *c, bint by_load, uint64_t now_ns, uint64_t *rng,
                          endpoint_t **tried, uint32_t n_tried) noexcept nogil:
    cdef uint32_t aside = 0
    cdef uint32_t i
    cdef endpoint_t *e
    cdef endpoint_t *found = NULL
    if not q.is_started:
        start(q, rng)
    if q.n_heap < q.n:
        if q.cursor < q.n_heap or q.cursor >= q.n:
            q.cursor = q.n_heap
        if c.endpoints[q.turns[q.cursor].slot].live.avoid_until_ns <= now_ns:
            unpark(q, q.cursor)
        q.cursor += 1
    while q.n_heap > 0:
        e = &c.endpoints[q.turns[0].slot]
        if e.live.avoid_until_ns > now_ns:
            if aside == 0:
                remove_root(q)
                continue
            # Those set aside lie where it would be parked.
            break
        if n_tried == 0 or endpoint_is_usable(e, now_ns, tried, n_tried):
            break
        if aside == ASIDE_CAP:
            break
        remove_root(q)
        aside += 1
    if q.n_heap > 0:
        e = &c.endpoints[q.turns[0].slot]
        if endpoint_is_usable(e, now_ns, tried, n_tried):
            found = take(q, c, 0, by_load)
        else:
            found = scan(q, c, by_load, now_ns, tried, n_tried)
    # Tried ones keep their turn: another request may want them.
    while aside > 0:
        aside -= 1
        q.n_heap += 1
        sift_up(q.turns, q.n_heap - 1)
    if found is NULL and q.n_heap < q.n:
        # Nothing usable in the heap: one of the parked may have been let off meanwhile.
        i = q.n_heap
        while i < q.n and not endpoint_is_usable(&c.endpoints[q.turns[i].slot], now_ns, tried, n_tried):
            i += 1
        if i < q.n:
            unpark(q, i)
            found = scan(q, c, by_load, now_ns, tried, n_tried)
    return found
