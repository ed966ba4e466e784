"""Listening sockets of a worker: accepting, shedding, leaving.

The sockets are opened by control, one per worker and address; a worker holds a duplicate.
"""
from libc.stdint cimport uint32_t
from fastmesh._core.proxy.mux cimport door_t, down_t, proxy_t

# Takes ownership of fd. Accepts nothing before a snapshot names its listener (door_open).
cdef door_t *door_new(proxy_t *p, uint32_t id, int fd) noexcept nogil
# The newest that is not leaving, or NULL.
cdef door_t *door_find(proxy_t *p, uint32_t id) noexcept nogil
# Begins to accept (the snapshot's listener is in door.listener by now).
cdef void door_open(door_t *k) noexcept nogil
# Takes what is in the backlog, then closes: nobody who was let in by the kernel is turned away.
cdef void door_leave(door_t *k) noexcept nogil
# A connection that filters have looked at begins.
cdef void door_admit(down_t *d) noexcept nogil
