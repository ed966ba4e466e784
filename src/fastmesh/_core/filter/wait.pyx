"""See wait.pxd."""
from cpython.ref cimport Py_DECREF, Py_INCREF, PyObject
from fastmesh._core.io.reactor cimport reactor_soon
from fastmesh._core.io.timer cimport timer_arm, timer_init, timer_unlink

cdef extern from "Python.h":
    # PYGEN_RETURN is 0, PYGEN_NEXT 1; an error is raised.
    int PyIter_Send(object it, object value, PyObject **result) except -1

cdef enum:
    PYGEN_RETURN = 0
    STUBBORN = 16             # waits that a cancelled coroutine may still begin before it is given up
    LATE_NS = 250000000       # after FilterTimeout: for what a coroutine still has to put away


class Cancelled(BaseException):
    """The exchange is over: its client left, or it was cut. Raised where a filter waits; to be let through."""


class FilterTimeout(BaseException):
    """A filter took longer than it may."""


cdef class Wait:
    """What a filter may await. Each can be awaited once."""

    def __await__(self):
        if self.is_awaited:
            raise RuntimeError(f"this {type(self).__name__} was awaited before: each can be awaited once")
        self.is_awaited = True
        return self

    def __iter__(self):
        return self

    def __next__(self):
        if self.state == WAIT_NEW:
            self.begin()
            if self.state == WAIT_NEW:
                self.state = WAIT_PENDING
        if self.state != WAIT_DONE:
            return self
        if self.error is not None:
            raise self.error
        raise StopIteration(self.value)

    cdef int begin(self) except -1:
        return 0

    cdef void give_up(self) noexcept:
        pass

    cdef void settle(self, object value, BaseException error) noexcept:
        cdef Task task = self.task
        if self.state == WAIT_DONE:
            return
        self.state = WAIT_DONE
        self.value = value
        self.error = error
        self.task = None
        if task is not None and task.core.task is NULL and not task.is_over:
            task.core.task = <void *>task
            Py_INCREF(task)
            reactor_soon(task.reactor, &task.core.soon)


cdef class Task:

    def __cinit__(self):
        self.core.soon.run = _on_soon
        timer_init(&self.limit, _on_limit, <void *>self)

    def __dealloc__(self):
        if self.limit.next is not NULL:
            timer_unlink(&self.reactor.wheel, &self.limit)

    cdef int step(self) except -1:
        cdef PyObject *got = NULL
        cdef int how
        cdef object value
        while True:
            self.waiting = None
            self.entering()
            try:
                how = PyIter_Send(self.coro, None, &got)
            finally:
                self.leaving()
            value = <object>got
            Py_DECREF(value)
            if how == PYGEN_RETURN:
                self.result = value
                return TASK_DONE
            if isinstance(value, Wait) and (<Wait>value).state == WAIT_PENDING and (<Wait>value).task is None:
                self.waiting = <Wait>value
                self.waiting.task = self
                return TASK_HELD
            if isinstance(value, Wait) and (<Wait>value).state == WAIT_DONE:
                continue
            # The coroutine hears of it, so that the traceback shows the line.
            return self.throw(TypeError(
                f"awaited {_what(value)}, which only an asyncio loop can resume. Await what fastmesh offers "
                "(self.mesh, fastmesh.sleep), or let the filter run isolated: `isolated: true`"))

    cdef int throw(self, BaseException error) except -1:
        cdef object value
        self.waiting = None
        self.entering()
        try:
            value = self.coro.throw(error)
        except StopIteration as end:
            self.result = end.value
            return TASK_DONE
        finally:
            self.leaving()
        if isinstance(value, Wait) and (<Wait>value).state == WAIT_PENDING and (<Wait>value).task is None:
            self.waiting = <Wait>value
            self.waiting.task = self
            return TASK_HELD
        raise RuntimeError("a filter that is being ended awaits something else")

    cdef void arm(self, uint64_t after_ns) noexcept:
        self.is_late = False
        if after_ns:
            timer_arm(&self.reactor.wheel, &self.limit, self.reactor.now_ns + after_ns)

    cdef void drop_wait(self) noexcept:
        cdef Wait w = self.waiting
        self.waiting = None
        if w is not None:
            w.task = None
            if w.state != WAIT_DONE:
                w.state = WAIT_DONE
                w.give_up()

    cdef void cancel(self) noexcept:
        if self.is_over:
            return
        self.is_over = True
        if self.limit.next is not NULL:
            timer_unlink(&self.reactor.wheel, &self.limit)
        self.drop_wait()
        self.dropped()
        _end(self, Cancelled)

    cdef void finished(self) noexcept:
        pass

    cdef void dropped(self) noexcept:
        pass

    cdef void held_again(self) noexcept:
        pass

    cdef void entering(self) noexcept:
        pass

    cdef void leaving(self) noexcept:
        pass


cdef void _end(Task task, object kind) noexcept:
    """Nobody will be there to resume the coroutine."""
    cdef int tries = 0
    try:
        task.entering()
        try:
            if hasattr(task.coro, "throw"):
                value = task.coro.throw(kind())
                # It waits in a `finally`.
                while tries < STUBBORN:
                    if isinstance(value, Wait):
                        (<Wait>value).give_up()
                    value = task.coro.throw(kind())
                    tries += 1
        finally:
            task.leaving()
    except (StopIteration, StopAsyncIteration, GeneratorExit, Cancelled):
        pass
    except BaseException as error:
        task.error = error
    task.coro = None


cdef str _what(object value):
    if value is None:
        return "nothing (asyncio.sleep(0)?)"
    if isinstance(value, Wait):
        return f"a {type(value).__name__} that something else awaits already"
    return f"a {type(value).__module__}.{type(value).__qualname__}"


cdef void _go_on(Task task, BaseException error) noexcept:
    """Resumes, and tells who is concerned when it came to an end."""
    cdef object coro = task.coro
    cdef int how = TASK_DONE
    if task.is_over:
        return
    try:
        how = task.step() if error is None else task.throw(error)
    except BaseException as failed:
        task.error = failed
    if task.is_over:
        # What it did has ended what it worked for: it has been dropped while it ran.
        if how == TASK_HELD:
            task.drop_wait()
            task.coro = coro
            _end(task, Cancelled)
        return
    if how == TASK_HELD:
        task.held_again()
        return
    task.is_over = True
    task.coro = None
    if task.limit.next is not NULL:
        timer_unlink(&task.reactor.wheel, &task.limit)
    task.finished()


cdef void _on_soon(soon_t *k) noexcept nogil:
    cdef task_core_t *core = <task_core_t *>k
    with gil:
        task = <Task>core.task
        core.task = NULL
        Py_DECREF(task)
        _go_on(task, None)


cdef void _on_limit(timer_t *t, void *owner) noexcept nogil:
    with gil:
        task = <Task>owner
        timer_arm(&task.reactor.wheel, &task.limit, task.reactor.now_ns + LATE_NS)
        if task.core.task is not NULL:
            return      # what it waits for is here, in this very turn
        task.drop_wait()
        if not task.is_late:
            task.is_late = True
            _go_on(task, FilterTimeout("waited for longer than its `timeout`"))
            return
        task.is_over = True
        timer_unlink(&task.reactor.wheel, &task.limit)
        _end(task, FilterTimeout)
        task.error = FilterTimeout("caught the end of its `timeout`, and waited on")
        task.finished()


cdef class Sleep(Wait):
    cdef timer_t timer
    cdef double seconds

    def __cinit__(self, seconds):
        self.seconds = seconds
        if not self.seconds >= 0 or self.seconds > 86400:
            raise ValueError(f"a sleep of {seconds!r} s: from 0 to 86400 is allowed")
        timer_init(&self.timer, _on_sleep, <void *>self)

    def __dealloc__(self):
        if self.timer.next is not NULL and wait_reactor is not NULL:
            timer_unlink(&wait_reactor.wheel, &self.timer)

    cdef int begin(self) except -1:
        if wait_reactor is NULL:
            raise RuntimeError("fastmesh.sleep works in a worker only")
        timer_arm(&wait_reactor.wheel, &self.timer, wait_reactor.engine.now() + <uint64_t>(self.seconds * 1e9))
        return 0

    cdef void give_up(self) noexcept:
        if self.timer.next is not NULL:
            timer_unlink(&wait_reactor.wheel, &self.timer)


cdef void _on_sleep(timer_t *t, void *owner) noexcept nogil:
    with gil:
        (<Sleep>owner).settle(None, None)


cdef class Signal(Wait):
    """Resumes the filter that awaits it when something else calls `finish` or `fail`."""

    def finish(self, value=None):
        self.settle(value, None)

    def fail(self, BaseException error):
        self.settle(None, error)

    @property
    def is_waited_for(self):
        return self.state == WAIT_PENDING
