"""See entry.pxd."""
from cpython.ref cimport Py_DECREF, Py_INCREF
from libc.stdint cimport uint64_t
from fastmesh._core.filter.chain cimport ON_ERROR_CLOSED, Slot, Table, slot_begin, slot_end, slot_is_bypassed, slot_t
from fastmesh._core.filter.facts cimport Connection, connection_of
from fastmesh._core.filter.wait cimport TASK_HELD, Task
from fastmesh._core.io.reactor cimport io_await_end, io_hangup, reactor_clock
from fastmesh._core.mem.counter cimport PHASE_CONNECTION
from fastmesh._core.proxy.down cimport down_close
from fastmesh._core.proxy.listener cimport door_admit
from fastmesh._core.proxy.mux cimport FILTER_GO, FILTER_HELD, FILTER_OVER
from fastmesh._core.snapshot.snapshot cimport PROTOCOL_TCP, filter_chain_t

cdef extern from "Python.h":
    bint PyCoro_CheckExact(object o)


cdef class Entry(Task):
    """A connection whose on_connection waits."""
    cdef down_t *d
    cdef Table table
    cdef int chain, place
    cdef slot_t *c
    cdef Connection connection
    cdef uint64_t begun_ns

    cdef void entering(self) noexcept:
        self.begun_ns = slot_begin(self.c)

    cdef void leaving(self) noexcept:
        slot_end(self.c, PHASE_CONNECTION, self.begun_ns, False)

    cdef void finished(self) noexcept:
        cdef down_t *d = self.d
        cdef int how
        if d is NULL:
            return
        self.d = NULL
        d.run = NULL
        Py_DECREF(self)
        how = _entered(self.c, self.result, self.error, d)
        if how == FILTER_GO:
            how = _enter(d, self.chain, self.place + 1, self.connection)
        if how == FILTER_GO:
            door_admit(d)


cdef int _entered(slot_t *c, object result, BaseException error, down_t *d) noexcept:
    if error is None and result is not None and not isinstance(result, bool):
        error = TypeError(f"returned a {type(result).__name__}: None, True or False is allowed")
    if error is not None:
        (<Slot>c.owner).failed(PHASE_CONNECTION, error, reactor_clock(d.proxy.reactor))
        result = c.on_error != ON_ERROR_CLOSED
    if result is False and not c.is_shadow:
        down_close(d)
        return FILTER_OVER
    return FILTER_GO


cdef inline void _watch(down_t *d) noexcept:
    """Who ends his side before he has said anything has left, unless his listener passes one end alone."""
    if d.listener.half_close or d.listener.protocol == PROTOCOL_TCP:
        io_hangup(&d.x.io)
    else:
        io_await_end(&d.x.io)


cdef int _enter(down_t *d, int chain, int place, Connection connection) noexcept:
    cdef const filter_chain_t *k = &d.snap.chains[chain]
    cdef Table table = <Table>d.snap.filters
    cdef Entry entry
    cdef slot_t *c
    cdef BaseException failed
    cdef uint64_t begun
    while place < k.n:
        c = table.c[k.slots[place]]
        place += 1
        if not c.phases >> PHASE_CONNECTION & 1 or slot_is_bypassed(c, d.proxy.reactor.now_ns):
            continue
        failed = None
        result = None
        try:
            if connection is None:
                connection = connection_of(d)
            begun = slot_begin(c)
            try:
                result = (<object>c.calls[PHASE_CONNECTION])(connection)
            finally:
                slot_end(c, PHASE_CONNECTION, begun, True)
            if result is not None and PyCoro_CheckExact(result):
                entry = Entry.__new__(Entry)
                entry.reactor = d.proxy.reactor
                entry.coro = result
                entry.c = c
                entry.table = table
                entry.chain = chain
                entry.place = place - 1
                entry.connection = connection
                if entry.step() == TASK_HELD:
                    entry.d = d
                    entry.arm(c.timeout_ns)
                    _watch(d)
                    d.run = <void *>entry
                    Py_INCREF(entry)
                    return FILTER_HELD
                result = entry.result
        except BaseException as error:
            failed = error
        if _entered(c, result, failed, d) != FILTER_GO:
            return FILTER_OVER
    return FILTER_GO


cdef int entry_accept(down_t *d) noexcept nogil:
    cdef int how
    with gil:
        how = _enter(d, d.listener.chain, 0, None)
    return how


cdef void entry_left(down_t *d) noexcept nogil:
    with gil:
        entry = <Entry>d.run
        d.run = NULL
        entry.d = NULL
        entry.cancel()
        Py_DECREF(entry)
