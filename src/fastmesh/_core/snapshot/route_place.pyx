"""See route_place.pxd."""
from libc.stdint cimport uint32_t
from fastmesh._core.snapshot.snapshot cimport PROTOCOL_TCP
from fastmesh._core.snapshot.take cimport take_entry, take_refuse


cdef bint take_listener_place(take_t *t, const snapshot_t *s, listener_t **listener) noexcept nogil:
    cdef uint32_t place = 0
    if not take_entry(t, b"listener", s.n_listeners, b"listeners", &place):
        return False
    listener[0] = &s.listeners[place]
    if listener[0].protocol == PROTOCOL_TCP:
        return take_refuse(t, b"listener", b"its protocol is tcp, which has no requests")
    return True


cdef bint take_route_place(take_t *t, const snapshot_t *s, route_t **route) noexcept nogil:
    cdef listener_t *l = NULL
    cdef uint32_t place = 0
    if not (take_listener_place(t, s, &l) and take_entry(t, b"route", l.routes.n, b"routes", &place)):
        return False
    route[0] = &l.routes.routes[place]
    return True
