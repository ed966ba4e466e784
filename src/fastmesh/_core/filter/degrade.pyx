"""See degrade.pxd."""
from libc.stdint cimport uint64_t
from fastmesh._core.filter.chain cimport Slot, slot_begin, slot_end, slot_is_bypassed, slot_t
from fastmesh._core.filter.enlist cimport TAP_COMPLETE, request_of
from fastmesh._core.filter.facts cimport failure_of
from fastmesh._core.filter.view cimport Response
from fastmesh._core.filter.wait cimport TASK_HELD, Task
from fastmesh._core.io.reactor cimport reactor_clock
from fastmesh._core.mem.counter cimport PHASE_ANSWER
from fastmesh._core.proxy.fallback cimport fallback_on_answer
from fastmesh._core.proxy.mux cimport FILTER_GO, FILTER_HELD, FILTER_OVER

cdef extern from "Python.h":
    bint PyCoro_CheckExact(object o)


cdef class Thought(Task):
    """A policy that waits for something before it answers."""
    cdef Request r
    cdef slot_t *c
    cdef uint64_t begun_ns
    cdef bint is_cut          # the client waits for less than the policy may take

    cdef void entering(self) noexcept:
        self.r.depth += 1
        self.r.phase = PHASE_ANSWER
        self.begun_ns = slot_begin(self.c)

    cdef void leaving(self) noexcept:
        slot_end(self.c, PHASE_ANSWER, self.begun_ns, False)
        self.r.depth -= 1

    cdef void dropped(self) noexcept:
        if self.c.row is not NULL:
            self.c.row.in_flight -= 1

    cdef void finished(self) noexcept:
        cdef Request r = self.r
        r.task_degraded = None
        if self.c.row is not NULL:
            self.c.row.in_flight -= 1
        if r.s is NULL:
            return
        # That a client has no time is not the policy's fault.
        if not (self.is_late and self.is_cut):
            _took(r, self.c, self.result, self.error)
        fallback_on_answer(r.s, r.degraded is not None)


cdef void _took(Request r, slot_t *c, object result, BaseException error) noexcept:
    """What it has answered, if that is an answer."""
    if error is None and result is not None and not isinstance(result, Response):
        error = TypeError(f"returned a {type(result).__name__}: None or a Response is allowed")
    if error is not None:
        (<Slot>c.owner).failed(PHASE_ANSWER, error, reactor_clock(r.s.proxy.reactor))
        return
    r.degraded = <Response>result


cdef int degrade_ask(stream_t *s, uint32_t slot) noexcept nogil:
    cdef int how
    with gil:
        how = _ask(s, slot)
    return how


cdef int _ask(stream_t *s, uint32_t slot) noexcept:
    cdef Request r = None
    cdef Thought thought
    cdef slot_t *c = NULL
    cdef uint64_t begun
    try:
        r = request_of(s, NULL)
        c = r.table.c[slot]
        r.degraded = None
        if c.bypassed_until_ns and slot_is_bypassed(c, s.proxy.reactor.now_ns):
            return FILTER_GO
        r.is_sent = True
        failure = failure_of(s)
        r.depth += 1
        r.phase = PHASE_ANSWER
        begun = slot_begin(c)
        try:
            result = (<object>c.calls[PHASE_ANSWER])(r, failure)
        finally:
            slot_end(c, PHASE_ANSWER, begun, True)
            r.depth -= 1
        if result is not None and PyCoro_CheckExact(result):
            thought = Thought.__new__(Thought)
            thought.r, thought.c, thought.coro = r, c, result
            thought.reactor = s.proxy.reactor
            if thought.step() == TASK_HELD:
                _hold(r, thought)
                return FILTER_HELD
            result = thought.result
        _took(r, c, result, None)
    except BaseException as error:
        if c is not NULL:
            (<Slot>c.owner).failed(PHASE_ANSWER, error, reactor_clock(s.proxy.reactor))
        return FILTER_GO
    return FILTER_OVER if r.degraded is not None else FILTER_GO


cdef void _hold(Request r, Thought thought) noexcept:
    cdef stream_t *s = r.s
    cdef uint64_t now = s.proxy.reactor.now_ns
    cdef uint64_t most = thought.c.timeout_ns
    if s.deadline_ns != 0 and s.deadline_ns < now + most:
        thought.is_cut = True
        most = s.deadline_ns - now if s.deadline_ns > now else 1
    thought.arm(most)
    s.taps |= TAP_COMPLETE
    if thought.c.row is not NULL:
        thought.c.row.in_flight += 1
    if r.h is not NULL or r.m is not NULL:
        r.touch()
    r.task_degraded = thought


cdef void degrade_forget(stream_t *s) noexcept nogil:
    with gil:
        degrade_cancel(<Request>s.run)


cdef void degrade_cancel(Request r) noexcept:
    cdef Task task = r.task_degraded
    r.task_degraded = None
    if task is not None:
        task.cancel()
