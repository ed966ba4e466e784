"""See balance.pxd, and balance.pyi for what authors may rely on.

What a policy answers is carried out here when it has returned, as with filters: `weights` become whole numbers that the
cluster's own algorithm goes by, swapped in place; `pick` is one endpoint, or leaves it to that algorithm.
"""
from cpython.unicode cimport PyUnicode_DecodeLatin1, PyUnicode_DecodeUTF8
from libc.math cimport isfinite
from libc.stdint cimport uint32_t, uint64_t
from fastmesh._core.filter.chain cimport (
    ON_ERROR_CLOSED, OVERRUN_TIMES, Slot, Table, slot_begin, slot_end, slot_is_bypassed, slot_t)
from fastmesh._core.filter.enlist cimport request_of
from fastmesh._core.filter.headers import ViewClosed
from fastmesh._core.filter.view cimport Request
from fastmesh._core.io.reactor cimport reactor_clock
from fastmesh._core.io.timer cimport WHEEL_SHIFT, timer_arm, timer_init, timer_t, timer_unlink
from fastmesh._core.lb.cluster cimport cluster_pick, cluster_t, cluster_weigh, endpoint_is_usable, endpoint_note
from fastmesh._core.mem.counter cimport PHASE_PICK, PHASE_WEIGHTS
from fastmesh._core.lb.endpoint cimport endpoint_note_t, endpoint_use_t
from fastmesh._core.lb.use cimport endpoint_row
from fastmesh._core.mem.raw cimport raw_give, raw_take
from fastmesh._core.mem.span cimport span_t
from fastmesh._core.proxy.local cimport local_answer
from fastmesh._core.proxy.mux cimport FILTER_GO, FILTER_OVER

from types import MappingProxyType

cdef extern from "Python.h":
    bint PyCoro_CheckExact(object o)
    bint PySequence_Check(object o)

cdef enum:
    WEIGHT_TOP = 1 << 30      # what the largest weight becomes; the least that is not 0 becomes at least 1
    IN_A_ROW = 3              # times that weights may fail one after another, before it is left alone


cdef class Endpoint:
    """One endpoint of a cluster, as this worker sees it."""

    def __init__(self):
        raise TypeError("endpoints are those of a cluster; tests make them with fastmesh.testing.endpoint")

    cdef endpoint_t *alive(self) except NULL:
        if self.owner.depth == 0 or self.owner.cluster is NULL:
            raise ViewClosed("an endpoint may be looked at while weights or pick runs, not between them: keep its "
                             "address, and the numbers that are needed")
        return self.e

    @property
    def address(self):
        self.alive()
        return self.text

    cdef tuple note(self):
        cdef endpoint_t *e = self.alive()
        cdef const endpoint_note_t *note = endpoint_note(self.owner.cluster, e)
        cdef dict metadata = {}
        cdef uint32_t i
        if self.said is None:
            if note is NULL:
                self.said = 0, "", MappingProxyType(metadata)
            else:
                for i in range(note.n):
                    metadata[_text(note.words[2 * i])] = _text(note.words[2 * i + 1])
                self.said = note.priority, _text(note.zone), MappingProxyType(metadata)
        return self.said

    @property
    def metadata(self):
        """A read-only mapping of text to text: what the configuration says of it, or who found it."""
        return self.note()[2]

    @property
    def priority(self):
        """0 is asked first."""
        return self.note()[0]

    @property
    def zone(self):
        """Where it is, as the configuration says; "" when it does not."""
        return self.note()[1]

    @property
    def weight(self):
        return self.alive().weight

    @property
    def active(self):
        return self.alive().live.active

    @property
    def waiting(self):
        cdef const endpoint_use_t *use = self.alive().live.use
        return use.waiting if use is not NULL else 0

    @property
    def connections(self):
        cdef const endpoint_use_t *use = self.alive().live.use
        return use.connections if use is not NULL else 0

    @property
    def requests(self):
        return endpoint_row(self.alive().live).total

    @property
    def failures(self):
        return endpoint_row(self.alive().live).failures

    @property
    def connect_failures(self):
        return endpoint_row(self.alive().live).connect_failures

    @property
    def latency(self):
        cdef const endpoint_use_t *use = self.alive().live.use
        return use.ewma_ns / 1e9 if use is not NULL and use.answers else None

    @property
    def answers(self):
        cdef const endpoint_use_t *use = self.alive().live.use
        return use.answers if use is not NULL else 0

    @property
    def answer_time(self):
        cdef const endpoint_use_t *use = self.alive().live.use
        return use.answers_ns / 1e9 if use is not NULL else 0.0

    @property
    def is_avoided(self):
        cdef endpoint_t *e = self.alive()
        return e.live.avoid_until_ns > (self.owner.p.reactor.now_ns if self.owner.p is not NULL else 0)

    @property
    def is_unhealthy(self):
        return self.alive().live.is_down != 0

    @property
    def was_tried(self):
        cdef endpoint_t *e = self.alive()
        cdef stream_t *s = self.owner.s
        cdef int i
        if s is not NULL:
            for i in range(s.n_tried):
                if s.tried[i] is e:
                    return True
        return False

    def __repr__(self):
        return f"<Endpoint {self.text}>"


cdef str _text(span_t s):
    return PyUnicode_DecodeUTF8(<const char *>s.ptr, s.len, b"replace")


cdef class Balancer:

    cdef tuple views(self):
        cdef Endpoint view
        cdef uint32_t i
        cdef list made
        if self.endpoints is None:
            made = []
            for i in range(self.cluster.n):
                view = Endpoint.__new__(Endpoint)
                view.owner = self
                view.e = &self.cluster.endpoints[i]
                view.text = PyUnicode_DecodeLatin1(<const char *>view.e.text.ptr, view.e.text.len, NULL)
                made.append(view)
            self.endpoints = tuple(made)
        return self.endpoints

    cdef void rest(self) noexcept:
        """It is asked for weights no more."""
        if self.timer.next is not NULL:
            timer_unlink(&self.p.reactor.wheel, &self.timer)

    # --- weights -------------------------------------------------------------------------------------------------

    cdef void weigh(self) noexcept:
        cdef slot_t *c = self.c
        cdef cluster_t *cluster = self.cluster
        cdef uint64_t now = reactor_clock(self.p.reactor)
        cdef uint64_t begun
        cdef uint64_t took = 0
        cdef uint32_t *given
        cdef bint is_given = False
        cdef bint is_bad = False
        # From one time to the next, not from one answer to the next; a tick before, as timers are late by up to one.
        self.due_ns += cluster.balancer_interval_ns
        if self.due_ns <= now:
            self.due_ns = now + cluster.balancer_interval_ns
        timer_arm(&self.p.reactor.wheel, &self.timer, self.due_ns - (<uint64_t>1 << WHEEL_SHIFT))
        if cluster.n == 0:
            return
        if c.bypassed_until_ns and slot_is_bypassed(c, now):
            cluster_weigh(cluster, NULL)
            return
        given = <uint32_t *>raw_take(cluster.n * sizeof(uint32_t))
        try:
            endpoints = self.views()
            self.depth += 1
            begun = slot_begin(c)
            try:
                # What the numbers are made of is the author's, too: all of it is read within its time.
                is_given = self.read((<object>c.calls[PHASE_WEIGHTS])(endpoints), given)
            finally:
                took = slot_end(c, PHASE_WEIGHTS, begun, True)
                self.depth -= 1
        except BaseException as error:
            is_given = False
            is_bad = True
            (<Slot>c.owner).failed(PHASE_WEIGHTS, error, now)
        if is_bad or took > OVERRUN_TIMES * c.budget_ns:
            # Asked this seldom, it would hardly fail often enough within a window.
            self.in_a_row += 1
            if self.in_a_row >= IN_A_ROW and c.failures_most != 0:
                (<Slot>c.owner).quarantine(now, f"weights failed, or went far over its budget, {IN_A_ROW} times in a "
                                                "row")
                self.in_a_row = 0
        else:
            self.in_a_row = 0
        if c.is_shadow:
            if is_given:
                (<Slot>c.owner).shadowed(PHASE_WEIGHTS, ["set the weights of its cluster"])
        else:
            cluster_weigh(cluster, given if is_given and not c.bypassed_until_ns else NULL)
        raw_give(given)

    cdef bint read(self, object result, uint32_t *given) except -1:
        """False: as configured."""
        cdef uint32_t n = self.cluster.n
        cdef double *room
        cdef double value
        cdef double most = 0
        cdef uint32_t i
        cdef tuple items
        if result is None:
            return False
        _refuse_coroutine(result, "weights")
        if not PySequence_Check(result) or isinstance(result, (str, bytes)):
            raise TypeError(f"weights returned a {type(result).__name__}: a sequence with one number for each endpoint "
                            "is allowed, or None for the weights of the configuration")
        if len(result) != n:
            raise ValueError(_wrong_length(len(result), n))
        # A list could shrink while its items are asked for their values.
        items = tuple(result)
        if len(items) != n:
            raise ValueError(_wrong_length(len(items), n))
        room = <double *>raw_take(n * sizeof(double))
        try:
            for i in range(n):
                try:
                    value = items[i]
                except TypeError:
                    raise TypeError(f"weights returned a {type(items[i]).__name__} for {self.endpoints[i]!r}: a number "
                                    "is allowed") from None
                if not isfinite(value) or value < 0:
                    raise ValueError(f"weights returned {value!r} for {self.endpoints[i]!r}: a finite number is "
                                     "allowed, 0 or above")
                room[i] = value
                if value > most:
                    most = value
            if most == 0:
                return False
            for i in range(n):
                given[i] = <uint32_t>(room[i] / most * WEIGHT_TOP)
                if given[i] == 0 and room[i] > 0:
                    given[i] = 1
        finally:
            raw_give(room)
        return True

    # --- one request -----------------------------------------------------------------------------------------------

    cdef int pick(self, stream_t *s, endpoint_t **found) noexcept:
        cdef slot_t *c = self.c
        cdef uint64_t now = self.p.reactor.now_ns
        cdef endpoint_t *chosen = NULL
        cdef uint64_t begun
        cdef Request r
        if c.bypassed_until_ns and slot_is_bypassed(c, now):
            return self.failed(s)
        try:
            r = request_of(s, NULL)
            r.is_sent = True
            endpoints = self.views()
            r.depth += 1
            r.phase = PHASE_PICK
            self.depth += 1
            self.s = s
            begun = slot_begin(c)
            try:
                result = (<object>c.calls[PHASE_PICK])(r, endpoints)
            finally:
                slot_end(c, PHASE_PICK, begun, True)
                self.s = NULL
                self.depth -= 1
                r.depth -= 1
            if result is not None:
                chosen = self.taken(result)
        except BaseException as error:
            (<Slot>c.owner).failed(PHASE_PICK, error, reactor_clock(self.p.reactor))
            return self.failed(s)
        if chosen is not NULL and not endpoint_is_usable(chosen, now, s.tried, s.n_tried):
            # It cannot be connected to, or has failed with this very request: anything is better.
            if c.row is not NULL:
                c.row.skipped += 1
            chosen = NULL
        if c.is_shadow:
            found[0] = cluster_pick(s.cluster, now, &self.p.rng, s.tried, s.n_tried)
            if chosen is not NULL and chosen is not found[0]:
                (<Slot>c.owner).shadowed(PHASE_PICK, ["pick another endpoint"])
        else:
            found[0] = chosen
        return FILTER_GO

    cdef endpoint_t *taken(self, object result) except NULL:
        _refuse_coroutine(result, "pick")
        if not isinstance(result, Endpoint):
            raise TypeError(f"pick returned a {type(result).__name__}: one of the endpoints is allowed, or None for "
                            "the one that the cluster's own algorithm picks")
        if (<Endpoint>result).owner is not self:
            raise ValueError(f"pick returned {result!r}, which is none of the endpoints that it was given: it is of "
                             "another cluster, or of a configuration before this one")
        return (<Endpoint>result).e

    cdef int failed(self, stream_t *s) noexcept:
        """There is no answer of the policy's. FILTER_GO: it is done without."""
        if self.c.on_error != ON_ERROR_CLOSED or self.c.is_shadow:
            return FILTER_GO
        local_answer(s, 503, 0, <const char *>(<Slot>self.c.owner).details,
                      b"the policy that picks an endpoint for this request has failed")
        return FILTER_OVER


cdef int _refuse_coroutine(object result, str name) except -1:
    if PyCoro_CheckExact(result):
        result.close()
        raise TypeError(f"{name} returned a coroutine: a load balancer is asked and answers at once, write def {name}")
    return 0


cdef str _wrong_length(Py_ssize_t found, uint32_t n):
    return (f"weights returned {found} numbers for {n} endpoints: one for each is allowed, in their order, or None for "
            "the weights of the configuration")


cdef void _on_time(timer_t *t, void *owner) noexcept nogil:
    with gil:
        (<Balancer>owner).weigh()


cdef int balance_pick(stream_t *s, endpoint_t **found) noexcept nogil:
    cdef int how
    with gil:
        how = (<Balancer>s.cluster.balancer).pick(s, found)
    return how


cdef void balance_applied(proxy_t *p, snapshot_t *old) noexcept nogil:
    with gil:
        _rest(old)
        if p.snap.filters is not NULL:
            _begin(p, <Table>p.snap.filters)


cdef void _begin(proxy_t *p, Table table) noexcept:
    cdef Balancer made
    cdef cluster_t *cluster
    cdef uint32_t i
    for i in range(p.snap.n_clusters):
        cluster = &p.snap.clusters[i]
        if cluster.balancer_slot < 0:
            continue
        made = Balancer.__new__(Balancer)
        made.p = p
        made.cluster = cluster
        made.c = table.c[cluster.balancer_slot]
        timer_init(&made.timer, _on_time, <void *>made)
        table.balancers.append(made)
        cluster.balancer = <void *>made
        cluster.is_picked_for = made.c.phases >> PHASE_PICK & 1
    # The first request finds weights.
    for each in table.balancers:
        if (<Balancer>each).c.phases >> PHASE_WEIGHTS & 1:
            (<Balancer>each).weigh()


cdef void _rest(snapshot_t *snap) noexcept:
    if snap is not NULL and snap.filters is not NULL:
        for each in (<Table>snap.filters).balancers:
            (<Balancer>each).rest()


cdef void balance_close(proxy_t *p) noexcept:
    _rest(p.snap)


cdef void balance_free(Table table) noexcept:
    cdef Balancer balancer
    for each in table.balancers:
        balancer = <Balancer>each
        balancer.cluster = NULL
        # Views hold their owner, which holds them.
        balancer.endpoints = None
    table.balancers = []
