"""See take_match.pxd."""
from fastmesh._core.mem.arena cimport arena_array
from fastmesh._core.mem.fault cimport FM_OK
from fastmesh._core.route.route_table cimport route_build, route_t
from fastmesh._core.snapshot.take cimport take_enter, take_leave, take_refuse
from fastmesh._core.snapshot.take_route cimport take_route
from fastmesh._core.snapshot.unpack cimport unpack_nil


cdef bint take_match(take_t *t, const snapshot_t *s, route_table_t **table) noexcept nogil:
    cdef route_t *r
    if unpack_nil(&t.u):
        return True
    table[0] = <route_table_t *>arena_array(s.arena, 1, sizeof(route_table_t))
    table[0].routes = r = <route_t *>arena_array(s.arena, 1, sizeof(route_t))
    table[0].n = 1
    take_enter(t, b"match")
    if not take_route(t, s.arena, s.patterns, s.n_patterns, r):
        return False
    if r.cluster >= 0:
        return take_refuse(t, b"cluster", b"must be -1, as this is no route")
    if r.split is not NULL:
        return take_refuse(t, b"split", b"must be nil, as this is no route")
    if r.chain >= 0:
        return take_refuse(t, b"chain", b"must be -1, as this is no route")
    if route_build(table[0], s.arena) != FM_OK:
        return take_refuse(t, NULL, b"too many combinations of hosts and paths, must be at most 1048576")
    take_leave(t)
    return True
