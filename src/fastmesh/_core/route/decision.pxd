"""Which route takes a request, and whether every reading of the request agrees with that."""
from libc.stdint cimport uint8_t
from fastmesh._core.http.msg cimport msg_t
from fastmesh._core.mem.span cimport span_t
from fastmesh._core.route.route_table cimport asker_t, route_t, route_table_t

cdef enum:
    DECIDED_ROUTE = 0
    DECIDED_NONE = 1          # no route takes it
    DECIDED_BAD_PATH = 2      # a broken escape, or an encoded NUL
    DECIDED_TORN_PATH = 3     # another rule would hold in another reading of the path
    DECIDED_TORN_METHOD = 4   # another one would if the method were in capitals
    DECIDED_TORN_FIELD = 5    # the route would not in another reading of header, query or cookies
    DECIDE_ROOM = 131072      # bytes that `decide` needs

ctypedef struct decision_t:
    int how                   # DECIDED_*
    const route_t *route      # NULL with DECIDED_NONE, and where no route was looked for
    span_t path               # what rules were compared with: of the head, or in the room
    bint is_changed           # it is not the head's own
    bint is_ambiguous         # servers read it in several ways

cdef void decide(const route_table_t *t, msg_t *m, const asker_t *who, uint8_t *room, decision_t *d) noexcept nogil
