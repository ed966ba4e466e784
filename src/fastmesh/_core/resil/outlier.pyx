"""See outlier.pxd."""
from libc.math cimport sqrt
from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.string cimport memset
from fastmesh._core.mem.health cimport (
    BY_CONNECT_FAILURES, BY_FAILURE_PERCENTAGE, BY_GATEWAY_ERRORS, BY_LATENCY, BY_PROBE, BY_SERVER_ERRORS,
    BY_SUCCESS_RATE, BY_TIMEOUTS, EVENT_EJECTED, EVENT_REFUSED, EVENT_WATCHED, endpoint_health_t, health_come_back,
    health_event_t, health_tell, word_cas)
from fastmesh._core.mem.rng cimport rng_below, rng_next
from fastmesh._core.mem.segment cimport word_add, word_get, word_set
from fastmesh._core.mem.streak cimport streaks_end
from fastmesh._core.lb.endpoint cimport endpoint_use_t
from fastmesh._core.lb.use cimport endpoint_health, endpoint_use
from fastmesh._core.lb.settings cimport outlier_t

cdef enum:
    FLUSH_EACH = 16           # requests that are added to the shared row together,
    FLUSH_NS = 100000000      # unless so long has passed since the first of them
    JUDGE_NS = 1000000000     # one who has been judging for so long is dead
    FULL_NS = 1000000000      # while as many are out as may be, that is counted again so often
    MILLION = 1000000
    TIMES_MOST = 1000000

cdef double RATE_GAP = 0.05

# What an ejection is told with.
ctypedef struct cause_t:
    uint64_t reason
    uint64_t seen
    uint64_t figure
    uint64_t bound


cdef inline bint _is_ahead(uint64_t at_ns, uint64_t most_ns, uint64_t now_ns) noexcept nogil:
    """That time has not come. One that is further away than any can be is of a clock that has been set back since."""
    return at_ns > now_ns and at_ns - now_ns <= most_ns


# --- who judges ----------------------------------------------------------------------------------------------------

cdef inline bint _begin(cluster_t *c, uint64_t now_ns) noexcept nogil:
    """Nobody else judges this cluster until `_end`. False: somebody does, and is not waited for."""
    cdef uint64_t since = word_get(&c.health.judge_ns)
    if since != 0 and _is_ahead(since + JUDGE_NS, 2 * <uint64_t>JUDGE_NS, now_ns):
        return False
    return word_cas(&c.health.judge_ns, since, now_ns if now_ns != 0 else 1)


cdef inline void _end(cluster_t *c) noexcept nogil:
    word_set(&c.health.judge_ns, 0)


cdef void _tell(cluster_t *c, const endpoint_t *e, const endpoint_health_t *h, uint64_t kind, const cause_t *why,
                uint64_t for_ns, uint64_t now_ns) noexcept nogil:
    cdef health_event_t event
    memset(&event, 0, sizeof(event))
    event.at_ns = now_ns
    event.endpoint = e.row
    event.cluster = c.id
    event.kind = kind
    event.reason = why.reason
    event.for_ns = for_ns
    event.times = h.times
    event.seen = why.seen
    event.figure = why.figure
    event.bound = why.bound
    health_tell(c.shared, &event)


# --- out and in again ------------------------------------------------------------------------------------------------

cdef uint64_t _duration(const cluster_t *c, uint64_t times, uint64_t *rng) noexcept nogil:
    cdef uint64_t time = c.outlier.most_ns
    if times < c.outlier.most_ns // c.outlier.base_ns + 1:
        time = c.outlier.base_ns * times
    if time > c.outlier.most_ns:
        time = c.outlier.most_ns
    # Those that were ejected together do not come back together.
    return time + <uint64_t>(<double>time * c.outlier.jitter * (<double>(rng_next(rng) >> 11) * 1.1102230246251565e-16))


cdef uint32_t _out(const cluster_t *c) noexcept nogil:
    cdef const endpoint_health_t *h
    cdef uint32_t n = 0
    cdef uint32_t i
    for i in range(c.n):
        h = endpoint_health(c.endpoints[i].live)
        if h is not NULL and word_get(&h.until_ns) != 0:
            n += 1
    return n


cdef inline uint32_t _most_out(const cluster_t *c) noexcept nogil:
    cdef uint32_t most = <uint32_t>(c.outlier.most_out * c.n)
    if most < 1:
        most = 1
    return most if most < c.n else c.n - 1


cdef void _put_out(cluster_t *c, const endpoint_t *e, endpoint_health_t *h, const cause_t *why, uint64_t times,
                   uint64_t now_ns, uint64_t *rng) noexcept nogil:
    cdef uint64_t time = _duration(c, times, rng)
    h.times = times
    h.reason = why.reason
    if why.reason != BY_PROBE:
        h.since_ns = now_ns
    streaks_end(h)
    word_set(&h.until_ns, now_ns + time if now_ns + time != 0 else 1)
    word_set(&h.probe_ns, 0)
    word_add(&c.health.ejections[why.reason], 1)
    _tell(c, e, h, EVENT_EJECTED, why, time, now_ns)
    word_add(&c.health.epoch, 1)


cdef void _eject(cluster_t *c, const endpoint_t *e, endpoint_health_t *h, const cause_t *why, uint64_t now_ns,
                 uint64_t *rng) noexcept nogil:
    """By who judges."""
    cdef uint64_t times, healthy
    if word_get(&h.until_ns) != 0:
        return
    if c.outlier.enforce < MILLION and rng_below(rng, MILLION) >= c.outlier.enforce:
        streaks_end(h)
        if _is_ahead(h.watched_ns, 2 * c.outlier.most_ns, now_ns):
            return
        h.watched_ns = now_ns + _duration(c, 1, rng)
        word_add(&c.health.watched, 1)
        _tell(c, e, h, EVENT_WATCHED, why, h.watched_ns - now_ns, now_ns)
        return
    if _is_ahead(word_get(&c.health.full_until_ns), FULL_NS, now_ns) or _out(c) >= _most_out(c):
        streaks_end(h)
        word_add(&c.health.refused, 1)
        if not _is_ahead(word_get(&c.health.full_until_ns), FULL_NS, now_ns):
            word_set(&c.health.full_until_ns, now_ns + FULL_NS)
            _tell(c, e, h, EVENT_REFUSED, why, 0, now_ns)
        return
    # One that was well for a while is forgiven, an ejection for each window.
    times = h.times
    healthy = (now_ns - h.healthy_ns) // c.outlier.interval_ns if now_ns > h.healthy_ns else 0
    times = times - healthy if times > healthy else 0
    _put_out(c, e, h, why, times + 1, now_ns, rng)


cdef void _probed(cluster_t *c, const endpoint_t *e, endpoint_health_t *h, int seen, uint64_t now_ns,
                  uint64_t *rng) noexcept nogil:
    """Whoever made the probe has the endpoint to himself."""
    cdef cause_t why
    if word_get(&h.until_ns) == 0:
        word_set(&h.probe_ns, 0)
        return
    if seen == SEEN_GOOD:
        health_come_back(c.shared, c.health, c.id, h, e.row, now_ns)
        return
    memset(&why, 0, sizeof(why))
    why.reason = BY_PROBE
    _put_out(c, e, h, &why, h.times + 1 if h.times < TIMES_MOST else h.times, now_ns, rng)


# --- windows ---------------------------------------------------------------------------------------------------------

cdef inline void _flush(endpoint_use_t *use) noexcept nogil:
    cdef endpoint_health_t *h = use.health
    word_add(&h.total, use.seen)
    if use.seen_failed != 0:
        word_add(&h.failed, use.seen_failed)
    if use.seen_answered != 0:
        word_add(&h.answered, use.seen_answered)
        word_add(&h.waited_us, <int64_t>use.seen_waited_us)
    use.seen = 0
    use.seen_failed = 0
    use.seen_answered = 0
    use.seen_waited_us = 0


cdef inline void _count(endpoint_use_t *use, int seen, uint64_t took_ns, uint64_t now_ns) noexcept nogil:
    """Added up here first: workers would take the line from each other for every request."""
    if use.seen == 0:
        use.seen_since_ns = now_ns
    use.seen += 1
    if seen != SEEN_GOOD:
        use.seen_failed += 1
    if took_ns != 0:
        use.seen_answered += 1
        use.seen_waited_us += took_ns // 1000
    if use.seen >= FLUSH_EACH or seen != SEEN_GOOD or now_ns >= use.seen_since_ns + FLUSH_NS:
        _flush(use)


cdef inline endpoint_health_t *_in(const cluster_t *c, uint32_t i) noexcept nogil:
    """The row of one that somebody has asked, and that is not ejected; or NULL."""
    cdef endpoint_health_t *h = endpoint_health(c.endpoints[i].live)
    return h if h is not NULL and word_get(&h.until_ns) == 0 else NULL


cdef void _turn(endpoint_health_t *h) noexcept nogil:
    """What came in the window that is over; the next begins."""
    cdef uint64_t now[4]
    cdef uint32_t k
    now[0] = word_get(&h.total)
    now[1] = word_get(&h.failed)
    now[2] = word_get(&h.answered)
    now[3] = word_get(&h.waited_us)
    for k in range(4):
        h.window[k] = now[k] - h.was[k]
        h.was[k] = now[k]


cdef inline double _success(const endpoint_health_t *h) noexcept nogil:
    # Counts are read one after another, so a failure may be there whose request is not yet.
    return <double>(h.window[0] - h.window[1]) / <double>h.window[0] if h.window[0] > h.window[1] else 0


cdef void _by_success_rate(cluster_t *c, uint64_t now_ns, uint64_t *rng) noexcept nogil:
    cdef const outlier_t *o = &c.outlier
    cdef endpoint_health_t *h
    cdef cause_t why
    cdef double total = 0
    cdef double squares = 0
    cdef double mean, rate, bound
    cdef uint32_t n = 0
    cdef uint32_t i
    for i in range(c.n):
        h = _in(c, i)
        if h is not NULL and h.window[0] >= o.rate_requests:
            n += 1
            total += _success(h)
    if n < o.rate_hosts or n == 0:
        return
    mean = total / n
    for i in range(c.n):
        h = _in(c, i)
        if h is not NULL and h.window[0] >= o.rate_requests:
            rate = _success(h) - mean
            squares += rate * rate
    bound = mean - o.rate_factor * sqrt(squares / n)
    # Where all others are perfect, one failure is any number of deviations away.
    if bound > mean - RATE_GAP:
        bound = mean - RATE_GAP
    for i in range(c.n):
        h = _in(c, i)
        if h is not NULL and h.window[0] >= o.rate_requests and _success(h) < bound:
            why.reason = BY_SUCCESS_RATE
            why.seen = h.window[0]
            why.figure = <uint64_t>(_success(h) * MILLION)
            why.bound = <uint64_t>(bound * MILLION)
            _eject(c, &c.endpoints[i], h, &why, now_ns, rng)


cdef void _by_failures(cluster_t *c, uint64_t now_ns, uint64_t *rng) noexcept nogil:
    cdef const outlier_t *o = &c.outlier
    cdef endpoint_health_t *h
    cdef cause_t why
    cdef double part
    cdef uint32_t n = 0
    cdef uint32_t i
    for i in range(c.n):
        h = _in(c, i)
        n += h is not NULL and h.window[0] >= o.failure_requests
    if n < o.failure_hosts:
        return
    for i in range(c.n):
        h = _in(c, i)
        if h is NULL or h.window[0] < o.failure_requests or h.window[0] == 0:
            continue
        part = 1 - _success(h)
        if part >= o.failure_part:
            why.reason = BY_FAILURE_PERCENTAGE
            why.seen = h.window[0]
            why.figure = <uint64_t>(part * MILLION)
            why.bound = <uint64_t>(o.failure_part * MILLION)
            _eject(c, &c.endpoints[i], h, &why, now_ns, rng)


cdef void _by_latency(cluster_t *c, uint64_t now_ns, uint64_t *rng) noexcept nogil:
    cdef const outlier_t *o = &c.outlier
    cdef endpoint_health_t *h
    cdef cause_t why
    cdef double total = 0
    cdef double own, bound
    cdef uint32_t n = 0
    cdef uint32_t i
    for i in range(c.n):
        h = _in(c, i)
        if h is not NULL and h.window[2] >= o.latency_requests and h.window[2] != 0:
            n += 1
            total += <double>h.window[3] / <double>h.window[2]
    if n < 2:
        return
    for i in range(c.n):
        h = _in(c, i)
        if h is NULL or h.window[2] < o.latency_requests or h.window[2] == 0:
            continue
        own = <double>h.window[3] / <double>h.window[2]
        bound = o.latency_factor * (total - own) / (n - 1)
        if own > bound and own * 1000 >= <double>o.latency_least_ns:
            why.reason = BY_LATENCY
            why.seen = h.window[2]
            why.figure = <uint64_t>(own * 1000)
            why.bound = <uint64_t>(bound * 1000)
            _eject(c, &c.endpoints[i], h, &why, now_ns, rng)


cdef void _sweep(cluster_t *c, uint64_t now_ns, uint64_t *rng) noexcept nogil:
    cdef const outlier_t *o = &c.outlier
    cdef uint64_t ends = word_get(&c.health.sweep_ns)
    cdef endpoint_health_t *h
    cdef uint32_t i
    if _is_ahead(ends, o.interval_ns, now_ns) or not _begin(c, now_ns):
        return
    # Another worker may have been here in between.
    if word_get(&c.health.sweep_ns) == ends:
        word_set(&c.health.sweep_ns, now_ns + o.interval_ns)
        for i in range(c.n):
            h = endpoint_health(c.endpoints[i].live)
            if h is not NULL:
                _turn(h)
        # After a pause, and the first time, there is no window that could be compared with others.
        if ends != 0 and ends <= now_ns < ends + o.interval_ns:
            if o.failure_part != 0:
                _by_failures(c, now_ns, rng)
            if o.rate_factor != 0:
                _by_success_rate(c, now_ns, rng)
            if o.latency_factor != 0:
                _by_latency(c, now_ns, rng)
    _end(c)


# --- one after another -----------------------------------------------------------------------------------------------

cdef inline bint _reaches(uint64_t *count, uint32_t most, uint64_t reason, cause_t *why) noexcept nogil:
    """One more of them; whether that is enough."""
    cdef uint64_t n = <uint64_t>word_add(count, 1)
    if most == 0 or n < most:
        return False
    why.reason = reason
    why.seen = n
    why.bound = most
    return True


cdef bint _is_enough(const cluster_t *c, endpoint_use_t *use, int seen, cause_t *why) noexcept nogil:
    cdef const outlier_t *o = &c.outlier
    cdef endpoint_health_t *h = use.health
    cdef bint enough = False
    memset(why, 0, sizeof(cause_t))
    if seen == SEEN_CONNECT:
        # Connects that were under way together fail together: that is one piece of news.
        if use.failures == use.told:
            return False
        use.told = use.failures
        return _reaches(&h.connect_failures, o.connect_failures, BY_CONNECT_FAILURES, why)
    if h.connect_failures != 0:
        word_set(&h.connect_failures, 0)
    # The narrowest reason is the one that is told.
    enough = _reaches(&h.server_errors, o.server_errors, BY_SERVER_ERRORS, why)
    if seen != SEEN_ERROR:
        enough |= _reaches(&h.gateway_errors, o.gateway_errors, BY_GATEWAY_ERRORS, why)
    elif h.gateway_errors != 0:
        word_set(&h.gateway_errors, 0)
    if seen == SEEN_TIMEOUT:
        enough |= _reaches(&h.timeouts, o.timeouts, BY_TIMEOUTS, why)
    elif h.timeouts != 0:
        word_set(&h.timeouts, 0)
    return enough


cdef void outlier_observe(cluster_t *c, endpoint_t *e, int seen, uint64_t took_ns, uint64_t now_ns, uint64_t *rng,
                          bint is_probe) noexcept nogil:
    cdef endpoint_use_t *use = endpoint_use(e.live)
    cdef endpoint_health_t *h = use.health
    cdef cause_t why
    if h is NULL or word_get(&h.key) != use.health_key:
        return
    _count(use, seen, took_ns, now_ns)
    if is_probe:
        _probed(c, e, h, seen, now_ns, rng)
    elif word_get(&h.until_ns) != 0:
        # What was under way when it was ejected is no news.
        pass
    elif seen == SEEN_GOOD:
        streaks_end(h)
    elif _is_enough(c, use, seen, &why) and _begin(c, now_ns):
        _eject(c, e, h, &why, now_ns, rng)
        _end(c)
    if not _is_ahead(word_get(&c.health.sweep_ns), c.outlier.interval_ns, now_ns):
        _sweep(c, now_ns, rng)
