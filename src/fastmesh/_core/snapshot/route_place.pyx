"""See route_place.pxd."""
from libc.stdint cimport uint32_t
from libc.stdio cimport snprintf
from fastmesh._core.snapshot.snapshot cimport listener_t
from fastmesh._core.snapshot.take cimport take_refuse, take_u32

cdef enum:
    TEXT = 160                # room for one sentence


cdef bint take_route_place(take_t *t, const snapshot_t *s, route_t **route) noexcept nogil:
    cdef char text[TEXT]
    cdef const listener_t *l
    cdef uint32_t listener = 0
    cdef uint32_t place = 0
    if not (take_u32(t, b"listener", 0, 0xFFFFFFFF, &listener) and take_u32(t, b"route", 0, 0xFFFFFFFF, &place)):
        return False
    if listener >= s.n_listeners:
        snprintf(text, TEXT, b"found %u, but there are %u listeners", listener, s.n_listeners)
        return take_refuse(t, b"listener", text)
    l = &s.listeners[listener]
    if place >= l.routes.n:
        snprintf(text, TEXT, b"found %u, but there are %u routes", place, l.routes.n)
        return take_refuse(t, b"route", text)
    route[0] = &l.routes.routes[place]
    return True
