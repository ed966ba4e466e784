"""See ending.pxd."""
from cpython.ref cimport Py_DECREF
from libc.stdint cimport uint32_t, uint64_t
from fastmesh._core.filter.chain cimport Slot, Table, slot_begin, slot_end, slot_t
from fastmesh._core.filter.enlist cimport TAP_COMPLETE
from fastmesh._core.filter.flow cimport flow_forget
from fastmesh._core.filter.facts cimport Outcome, outcome_of
from fastmesh._core.filter.told cimport told_asked
from fastmesh._core.filter.view cimport Labels, Request
from fastmesh._core.filter.wait cimport TASK_HELD, Task
from fastmesh._core.io.reactor cimport reactor_clock
from fastmesh._core.mem.counter cimport PHASE_COMPLETE
from fastmesh._core.proxy.access_log cimport access_log_put_late, late_line_t
from fastmesh._core.proxy.label_count cimport label_count_put_late, late_count_t
from fastmesh._core.proxy.mux cimport S_LATE_LABELS

cdef extern from "Python.h":
    bint PyCoro_CheckExact(object o)

cdef enum:
    DETACHED_MOST = 10000     # on_complete phases that wait after their exchange

cdef set detached = set()


cdef class Late:
    """The access log's line of an exchange, and its count, while filters may still set labels."""
    cdef late_line_t *line    # owned; NULL where there is none, or before `ending_release`
    cdef late_count_t *count  # likewise
    cdef Labels labels
    cdef uint32_t waiting     # filters

    cdef void one_less(self) noexcept:
        cdef late_line_t *line = self.line
        cdef late_count_t *count = self.count
        self.waiting -= 1
        if self.waiting != 0:
            return
        self.line = NULL
        self.count = NULL
        if line is not NULL:
            access_log_put_late(line, self.labels.packed, self.labels.size)
        if count is not NULL:
            label_count_put_late(count, self.labels.packed, self.labels.size)


cdef class Detached(Task):
    """An on_complete that waits for something after its exchange."""
    cdef slot_t *c
    cdef Late late            # None where no labels come
    cdef Table table          # keeps the slot
    cdef uint64_t begun_ns

    cdef void entering(self) noexcept:
        self.begun_ns = slot_begin(self.c)

    cdef void leaving(self) noexcept:
        slot_end(self.c, PHASE_COMPLETE, self.begun_ns, False)

    cdef void dropped(self) noexcept:
        self.settle_late()

    cdef void settle_late(self) noexcept:
        cdef Late late = self.late
        self.late = None
        if late is not None:
            late.one_less()

    cdef void finished(self) noexcept:
        detached.discard(self)
        self.settle_late()
        if self.c.row is not NULL:
            self.c.row.in_flight -= 1
        if self.error is not None:
            (<Slot>self.c.owner).failed(PHASE_COMPLETE, self.error, reactor_clock(self.reactor))


cdef void ending_complete(stream_t *s) noexcept nogil:
    if s.taps & TAP_COMPLETE:
        with gil:
            _completed(<Request>s.run)
    if s.account is not NULL:
        with gil:
            told_asked(<Request>s.run)


cdef void _completed(Request r) noexcept:
    cdef stream_t *s = r.s
    cdef uint64_t now = reactor_clock(s.proxy.reactor)
    cdef Outcome outcome = None
    cdef Detached task
    cdef slot_t *c
    cdef uint64_t begun
    cdef int i
    flow_forget(r)
    r.is_sent = True
    r.is_answer_sent = True
    for i in range(r.n_stages - 1, -1, -1):
        c = r.slot(i)
        if not r.entered >> i & 1 or not c.phases >> PHASE_COMPLETE & 1:
            continue
        try:
            if outcome is None:
                outcome = outcome_of(s, now)
            r.depth += 1
            r.phase = PHASE_COMPLETE
            begun = slot_begin(c)
            try:
                result = (<object>c.calls[PHASE_COMPLETE])(r, outcome)
                if result is not None and PyCoro_CheckExact(result):
                    task = Detached.__new__(Detached)
                    task.reactor = s.proxy.reactor
                    task.c = c
                    task.table = r.table
                    task.coro = result
                    if len(detached) >= DETACHED_MOST:
                        result.close()
                        raise RuntimeError(f"{DETACHED_MOST} on_complete phases wait already: this one is left out")
                    if task.step() == TASK_HELD:
                        detached.add(task)
                        task.arm(c.timeout_ns)
                        if c.is_late:
                            if r.late is None:
                                r.late = Late.__new__(Late)
                                (<Late>r.late).labels = r.labels
                                s.bits |= S_LATE_LABELS
                            task.late = <Late>r.late
                            task.late.waiting += 1
                        if c.row is not NULL:
                            c.row.in_flight += 1
                    result = task.result
            finally:
                slot_end(c, PHASE_COMPLETE, begun, True)
                r.depth -= 1
            if result is not None:
                raise TypeError(f"returned a {type(result).__name__}: None is allowed")
        except BaseException as error:
            (<Slot>c.owner).failed(PHASE_COMPLETE, error, now)


cdef void ending_release(stream_t *s) noexcept nogil:
    with gil:
        r = <Request>s.run
        s.run = NULL
        s.labels = NULL
        if r.late is not None:
            (<Late>r.late).line = <late_line_t *>s.late
            (<Late>r.late).count = <late_count_t *>s.late_count
            s.late = NULL
            s.late_count = NULL
            r.late = None
        s.retry = NULL
        s.subset = NULL
        if r.response is not None and r.response.h is NULL:
            r.response.m = NULL
        r.s = NULL
        if r.h is NULL:
            r.m = NULL
        r.response = None
        r._state = None
        r._labels = None
        r._connection = None
        r._error = None
        r._trailers_in = None
        r._trailers_out = None
        r._retry = None
        r._subset = None
        r.degraded = None
        Py_DECREF(r)


cdef void ending_close() noexcept:
    for task in list(detached):
        (<Task>task).cancel()
    detached.clear()


def set_label(Labels labels not None, name, value):
    """Of an exchange that is over, by a filter for which its line in the log waits."""
    labels.put(name, value)


def drop_label(Labels labels not None, name):
    if name in labels.words:
        labels.drop(name)
