"""A coroutine of the proxy's own that the reactor drives and that belongs to no exchange.

It holds itself while it waits, in `under_way`.
"""
from fastmesh._core.filter cimport wait as wait_module
from fastmesh._core.filter.wait cimport TASK_HELD, Task

cdef set under_way = set()


cdef class Errand(Task):
    """`done(result, error)` is called when the coroutine has come to its end, but not when it is given up."""
    cdef object done

    def __init__(self, coroutine, done):
        self.coro = coroutine
        self.done = done

    def begin(self):
        """Drives it as far as it goes; it may be done by then. Raises RuntimeError where there is no worker."""
        if wait_module.wait_reactor is NULL:
            self.coro.close()
            raise RuntimeError("there is no worker that serves")
        self.reactor = wait_module.wait_reactor
        try:
            if self.step() == TASK_HELD:
                under_way.add(self)
                return
        except BaseException as error:
            self.error = error
        self.is_over = True
        self.coro = None
        self.finished()

    def give_up(self):
        """Nobody waits for it any more."""
        under_way.discard(self)
        self.cancel()
        self.done = None

    cdef void finished(self) noexcept:
        cdef object done = self.done
        under_way.discard(self)
        self.done = None
        done(self.result, self.error)


def close_errands():
    """Gives up all that are under way: the reactor is about to be freed."""
    for errand in list(under_way):
        (<Errand>errand).give_up()
