"""See ejection.pxd."""
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from fastmesh._core.mem.health cimport CHECKED_BAD, CHECKED_GOOD, endpoint_health_t, word_cas
from fastmesh._core.mem.segment cimport word_add, word_get, word_set
from fastmesh._core.lb.cluster cimport cluster_weight
from fastmesh._core.lb.endpoint cimport AVOID_ALWAYS, DOWN_FAILED, DOWN_UNCHECKED, endpoint_live_t
from fastmesh._core.lb.levels cimport levels_count
from fastmesh._core.lb.use cimport endpoint_health, endpoint_warm

cdef void (*on_down)(endpoint_live_t *) noexcept nogil


cdef void ejection_on_down(void (*fn)(endpoint_live_t *) noexcept nogil) noexcept nogil:
    global on_down
    on_down = fn


cdef inline uint8_t down(const cluster_t *c, const endpoint_health_t *h) noexcept nogil:
    """DOWN_*; 0 = it is up."""
    cdef uint64_t checked
    if not c.is_checked or h is NULL:
        return 0
    checked = word_get(&h.checked)
    if checked == CHECKED_GOOD:
        return 0
    return DOWN_FAILED if checked == CHECKED_BAD else DOWN_UNCHECKED


cdef inline uint64_t until(const endpoint_health_t *h) noexcept nogil:
    """0 = it is in."""
    return word_get(&h.until_ns) if h is not NULL else 0


cdef inline uint64_t asked_at(const cluster_t *c, const endpoint_health_t *h, uint64_t now_ns) noexcept nogil:
    """When it may be asked."""
    cdef uint64_t at = word_get(&h.until_ns)
    cdef uint64_t probe = word_get(&h.probe_ns)
    if ejection_waits(c, at, now_ns):
        return at
    if ejection_waits(c, probe, now_ns):
        return probe
    return at if at < now_ns else now_ns


cdef void _in_again(cluster_t *c, endpoint_live_t *live, uint64_t now_ns) noexcept nogil:
    cdef bint is_new = live.is_down == DOWN_UNCHECKED and not live.is_out
    live.is_out = 0
    live.is_down = 0
    live.avoid_until_ns = 0
    if live.use is not NULL:
        live.use.failures = 0
        live.use.told = 0
    if is_new and c.settings.slow_start_ns == 0:
        # Nobody has known it: there is nothing that it could have to recover from.
        return
    if c.settings.slow_start_ns == 0 and c.outlier.ramp_ns != 0:
        c.live.ramp_until_ns = now_ns + c.outlier.ramp_ns
    endpoint_warm(live, now_ns)


cdef void _go_down(const cluster_t *c, endpoint_live_t *live, uint8_t how) noexcept nogil:
    cdef uint8_t was = live.is_down
    live.is_down = how
    live.avoid_until_ns = AVOID_ALWAYS
    if how == DOWN_FAILED and was != DOWN_FAILED and c.closes_idle and on_down is not NULL:
        on_down(live)


cdef void ejection_sync(cluster_t *c, uint64_t now_ns) noexcept nogil:
    cdef endpoint_live_t *live
    cdef endpoint_health_t *h
    cdef uint64_t at
    cdef uint32_t out = 0
    cdef uint32_t i
    cdef uint8_t how
    if c.whole is not NULL and c.whole.epoch != word_get(&c.health.epoch):
        ejection_sync(c.whole, now_ns)
    # First, so that a change while this looks is looked for again.
    c.epoch = word_get(&c.health.epoch)
    c.n_out = 0
    c.probe_at_ns = AVOID_ALWAYS
    for i in range(c.n):
        live = c.endpoints[i].live
        h = endpoint_health(live)
        how = down(c, h)
        if how != 0:
            _go_down(c, live, how)
            live.is_out = until(h) != 0
            out += live.is_out
            continue
        if until(h) == 0:
            if live.is_out or live.is_down:
                _in_again(c, live, now_ns)
            continue
        live.is_out = 1
        live.is_down = 0
        live.avoid_until_ns = AVOID_ALWAYS
        out += 1
        c.n_out += 1
        at = asked_at(c, h, now_ns)
        if at < c.probe_at_ns:
            c.probe_at_ns = at
    if c.whole is NULL:
        word_set(&c.health.out, out)
    if c.levels is not NULL:
        levels_count(c)


cdef bint _is_tried(const endpoint_t *e, endpoint_t **tried, uint32_t n_tried) noexcept nogil:
    cdef uint32_t i
    for i in range(n_tried):
        if tried[i] is e:
            return True
    return False


cdef endpoint_t *ejection_claim(cluster_t *c, uint64_t now_ns, endpoint_t **tried, uint32_t n_tried) noexcept nogil:
    cdef endpoint_t *e
    cdef endpoint_health_t *h
    cdef uint64_t probe, at
    cdef uint64_t soonest = AVOID_ALWAYS
    cdef uint32_t i
    for i in range(c.n):
        e = &c.endpoints[i]
        if not e.live.is_out or e.live.is_down or cluster_weight(c, i) == 0:
            continue
        h = endpoint_health(e.live)
        if h is NULL:
            continue
        probe = word_get(&h.probe_ns)
        if (until(h) != 0 and not ejection_waits(c, until(h), now_ns) and
                not ejection_waits(c, probe, now_ns) and not _is_tried(e, tried, n_tried)):
            if word_cas(&h.probe_ns, probe, now_ns + PROBE_NS):
                # What has been decided meanwhile counts more.
                if until(h) != 0 and not ejection_waits(c, until(h), now_ns):
                    e.live.is_claimed = 1
                    word_add(&c.health.probes, 1)
                    return e
                word_set(&h.probe_ns, 0)
        at = asked_at(c, h, now_ns)
        if at > now_ns and at < soonest:
            soonest = at
        elif at <= now_ns:
            soonest = now_ns
    c.probe_at_ns = soonest
    return NULL


cdef void ejection_release(cluster_t *c, endpoint_t *e) noexcept nogil:
    cdef endpoint_health_t *h = endpoint_health(e.live)
    if h is not NULL:
        word_set(&h.probe_ns, 0)
    # Workers have noted that it is being asked.
    word_add(&c.health.epoch, 1)


cdef void ejection_forget(cluster_t *c) noexcept nogil:
    cdef endpoint_live_t *live
    cdef endpoint_health_t *h
    cdef uint32_t i
    if c.outlier.is_on:
        return
    for i in range(c.n):
        live = c.endpoints[i].live
        h = endpoint_health(live)
        if until(h) != 0:
            word_set(&h.until_ns, 0)
            word_set(&h.probe_ns, 0)
        if live.is_out or (live.is_down and not c.is_checked):
            live.is_out = 0
            if not c.is_checked:
                live.is_down = 0
            if not live.is_down:
                live.avoid_until_ns = 0
    if c.health is not NULL:
        word_set(&c.health.out, 0)
