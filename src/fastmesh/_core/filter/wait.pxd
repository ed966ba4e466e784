"""What a filter may wait for, and what drives one that waits.

No event loop: a coroutine runs when the data thread sends into it, and gives a `Wait` back when it cannot go on. Who
finishes the wait puts its task on the reactor's list of work for the end of the turn, so a coroutine is never resumed
while anything of an exchange is on the stack.
"""
from libc.stdint cimport uint8_t, uint64_t
from fastmesh._core.io.reactor cimport reactor_t, soon_t
from fastmesh._core.io.timer cimport timer_t

cdef enum:
    WAIT_NEW = 0
    WAIT_PENDING = 1
    WAIT_DONE = 2

    TASK_DONE = 0             # `result` is there
    TASK_HELD = 1             # waits


cdef class Wait:
    cdef uint8_t state
    cdef bint is_awaited
    cdef object value
    cdef BaseException error
    cdef Task task            # who waits; None before and after
    # Called when it is awaited. Begins what takes time, or finishes at once.
    cdef int begin(self) except -1
    # Nobody waits any more.
    cdef void give_up(self) noexcept
    cdef void settle(self, object value, BaseException error) noexcept


cdef struct task_core_t:
    soon_t soon               # first
    void *task                # the Task, while it is on the list: one reference


cdef class Task:
    """A coroutine on its way. What becomes of it is its subclass' business: `finished` is called when it came to its
    end after having waited, from the reactor, with nothing else on the stack."""
    cdef reactor_t *reactor
    cdef object coro
    cdef Wait waiting
    cdef object result
    cdef BaseException error
    cdef task_core_t core
    cdef timer_t limit
    cdef bint is_late         # the limit has passed
    cdef bint is_over
    # TASK_*; an exception of the coroutine is raised.
    cdef int step(self) except -1
    cdef int throw(self, BaseException error) except -1
    cdef void drop_wait(self) noexcept
    cdef void arm(self, uint64_t after_ns) noexcept
    # Ends the coroutine with Cancelled; nothing is called afterwards.
    cdef void cancel(self) noexcept
    cdef void finished(self) noexcept
    cdef void dropped(self) noexcept        # it is cancelled, and will not be finished
    # It has gone on, and waits again.
    cdef void held_again(self) noexcept
    cdef void entering(self) noexcept
    cdef void leaving(self) noexcept


# The reactor of this process' worker: where sleeps are counted. NULL before there is one.
cdef reactor_t *wait_reactor
