"""See injections.pxd. The layout is written down in fastmesh/snapshot/wire.py."""
from libc.stdint cimport uint8_t, uint16_t, uint32_t
from libc.stdio cimport snprintf
from fastmesh._core.mem.arena cimport arena_alloc, arena_array, arena_t
from fastmesh._core.resil.injection cimport (
    INJECTION_SHARE_ALL, INJECTIONS_MAX, injection_list_t, injection_t)
from fastmesh._core.route.route_table cimport route_t
from fastmesh._core.snapshot.route_place cimport take_route_place
from fastmesh._core.snapshot.take cimport (
    take_at, take_bool, take_duration, take_enter, take_leave, take_list, take_record, take_refuse, take_u32)
from fastmesh._core.snapshot.take_each cimport take_each
from fastmesh._core.snapshot.take_match cimport take_match

cdef enum:
    U32_MAX = 0xFFFFFFFF
    DETAILS = 300             # room for those of one, NUL included; a name has up to 255 bytes
    GRPC_MOST = 16            # UNAUTHENTICATED


cdef bint _take_injection(take_t *t, const snapshot_t *s, injection_t *one) noexcept nogil:
    cdef uint32_t status = 0
    cdef uint32_t grpc = 0
    if not (take_record(t, NULL, 9) and take_match(t, s, &one.match) and
            take_u32(t, b"share", 0, INJECTION_SHARE_ALL, &one.share) and
            take_duration(t, b"delay", &one.delay_ns) and take_u32(t, b"status", 0, 599, &status)):
        return False
    if 0 < status < 200:
        return take_refuse(t, b"status", b"must be 0, or at least 200")
    one.status = <uint16_t>status
    if not (take_u32(t, b"bandwidth", 0, U32_MAX, &one.bandwidth) and
            take_u32(t, b"bandwidth_up", 0, U32_MAX, &one.bandwidth_up) and
            take_u32(t, b"most", 0, U32_MAX, &one.most) and take_u32(t, b"grpc", 0, GRPC_MOST, &grpc) and
            take_bool(t, b"is_asked", &one.is_asked)):
        return False
    one.grpc = <uint8_t>grpc
    return True


cdef const char *_details(arena_t *arena, const route_t *route, uint32_t place) noexcept nogil:
    cdef char *text = <char *>arena_alloc(arena, DETAILS)
    snprintf(text, DETAILS, b"fault_injected{%.*s/%u}", <int>route.name.len, <const char *>route.name.ptr, place)
    return text


cdef bint _take_list(take_t *t, snapshot_t *s, uint32_t number) noexcept nogil:
    cdef injection_list_t *k = &s.injection_lists[number]
    cdef route_t *route = NULL
    cdef uint32_t i
    if not (take_record(t, NULL, 3) and take_route_place(t, s, &route)):
        return False
    if route.injection_list != 0:
        return take_refuse(t, NULL, b"this route has its faults already")
    if not take_list(t, b"faults", 10, INJECTIONS_MAX, &k.n):
        return False
    k.injections = <injection_t *>arena_array(s.arena, k.n, sizeof(injection_t))
    take_enter(t, b"faults")
    for i in range(k.n):
        take_at(t, i)
        if not _take_injection(t, s, &k.injections[i]):
            return False
        if k.injections[i].status != 0 or k.injections[i].grpc != 0 or k.injections[i].is_asked:
            k.injections[i].details = _details(s.arena, route, i)
    take_leave(t)
    route.injection_list = number + 1
    return True


cdef bint injections_decode(take_t *t, snapshot_t *s) noexcept nogil:
    if not take_list(t, b"faults", 4, 1 << 20, &s.n_injection_lists):
        return False
    s.injection_lists = <injection_list_t *>arena_array(s.arena, s.n_injection_lists, sizeof(injection_list_t))
    return take_each(t, s, b"faults", s.n_injection_lists, _take_list)
