"""See reserve.pxd. The tasks themselves are fastmesh.host.spare's."""
import asyncio
from asyncio.tasks import _enter_task, _leave_task      # for who runs tasks himself: "Extending" in asyncio's docs

from cpython.ref cimport Py_DECREF, PyObject
from libc.stdint cimport int64_t, uint64_t

cdef extern from "Python.h":
    # PYGEN_RETURN is 0, PYGEN_NEXT 1; an error is raised.
    int PyIter_Send(object it, object value, PyObject **result) except -1
    object PyContext_CopyCurrent()
    int PyContext_Enter(object context) except -1
    int PyContext_Exit(object context) except -1

cdef enum:
    CPU_EVERY = 32            # calls of which one has its processor time measured: two system calls each

SPARE_MOST = 64


cdef object _sent(object it, object value, bint *is_over):
    """What it yielded, or returned."""
    cdef PyObject *got = NULL
    cdef int how = PyIter_Send(it, value, &got)
    cdef object made = <object>got
    Py_DECREF(made)
    is_over[0] = how == 0
    return made


cdef class Steps:

    cdef object go(self, object value, bint *is_over):
        cdef uint64_t begun
        self.call.has_begun = True
        self.pulse[0] = self.call.place
        begun = fm_thread_ns() if self.call.is_measured else 0
        try:
            return _sent(self.coroutine, value, is_over)
        finally:
            self.pulse[0] = 0
            if begun:
                self.call.cpu_ns += <int64_t>(fm_thread_ns() - begun) * CPU_EVERY

    def __iter__(self):
        return self

    def __next__(self):
        return self.send(None)

    def send(self, value):
        cdef bint is_over = False
        made = self.go(value, &is_over)
        if is_over:
            raise StopIteration(made)
        return made

    def throw(self, error):
        cdef uint64_t begun
        self.call.has_begun = True
        self.pulse[0] = self.call.place
        begun = fm_thread_ns() if self.call.is_measured else 0
        try:
            return self.coroutine.throw(error)
        finally:
            self.pulse[0] = 0
            if begun:
                self.call.cpu_ns += <int64_t>(fm_thread_ns() - begun) * CPU_EVERY

    def close(self):
        self.coroutine.close()


cdef class Reserve:
    """`more(loop)` brings one more, `alone(steps, end)` is the coroutine of a task that goes without: of a subclass."""

    def __cinit__(self):
        self.ready = []

    def begin(self, steps, end):
        """Takes the first step of a coroutine. `end(result, error)` is called at its end, which may be now: then there
        is no task. Else the task that goes on with it."""
        cdef bint is_over = False
        cdef object running = None
        cdef object result = None
        cdef BaseException error = None
        cdef object loop = asyncio.get_running_loop()
        cdef object spare = self._next()
        if spare is None:
            self._more(loop)
            return loop.create_task(self.alone(steps, end))
        context = PyContext_CopyCurrent()
        task = spare.task
        try:
            _enter_task(loop, task)
        except RuntimeError:        # from within another one
            running = asyncio.current_task(loop)
            _leave_task(loop, running)
            _enter_task(loop, task)
        PyContext_Enter(context)
        try:
            if isinstance(steps, Steps):
                result = (<Steps>steps).go(None, &is_over)
            else:
                result = _sent(steps, None, &is_over)
        except BaseException as raised:
            error = raised
            is_over = True
        finally:
            PyContext_Exit(context)
            _leave_task(loop, task)
            if running is not None:
                _enter_task(loop, running)
        if not is_over:
            spare.go_on(steps, context, result, end)
            self._more(loop)
            return task
        if spare.go.done():         # cancelled by the coroutine itself
            self._more(loop)
        else:
            self.ready.append(spare)
        try:
            end(result, error)
        finally:
            error = None            # its traceback holds this frame
        return None

    cdef object _next(self):
        while self.ready:
            spare = self.ready.pop()
            if not spare.go.done():         # by somebody who cancels every task there is
                return spare
        return None

    def _more(self, loop):
        if len(self.ready) + self.coming < SPARE_MOST:
            self.coming += 1
            self.more(loop)
