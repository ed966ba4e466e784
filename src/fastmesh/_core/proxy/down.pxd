"""What client connections of every protocol share: their end, and their place in the worker's list."""
from fastmesh._core.net.xprt cimport xprt_t
from fastmesh._core.proxy.mux cimport door_t, down_t, proxy_t

cdef void down_close(down_t *d) noexcept nogil                 # at once
cdef void down_reset(down_t *d) noexcept nogil                 # at once, with RST
cdef void down_close_sent(down_t *d) noexcept nogil            # when all is sent, or the client reads no more
# For the timer of a connection that only sends what is left, or lingers: down_wait begins, and down_is_moving says
# whether to go on, and then sets the timer again. That is as long as something was sent in the last linger time, or
# waits to be sent and the body time-out has not passed without progress.
cdef void down_wait(down_t *d) noexcept nogil
cdef bint down_is_moving(down_t *d) noexcept nogil
cdef void down_on_closed(xprt_t *x) noexcept nogil             # for the tables of xprt_up_t: frees
# Makes room for a newcomer: closes the one of some connections between requests that has been so for the longest, and
# for a second at least. `door`: only of those that came by it; NULL: of all. False when none of these few is.
cdef bint down_evict(proxy_t *p, const door_t *door) noexcept nogil
# Takes the current snapshot for the next exchange, if its listener is still in it.
cdef void down_refresh(down_t *d) noexcept nogil
