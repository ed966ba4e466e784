"""What a route does to its requests and their answers: redirects, other paths and hosts, headers."""
from fastmesh._core.http.edit cimport head_t
from fastmesh._core.http.msg cimport msg_t
from fastmesh._core.mem.span cimport span_t
from fastmesh._core.proxy.mux cimport stream_t
from fastmesh._core.route.acts cimport edit_t, edits_t, piece_t

# The request as the cluster is to get it, for head_free; NULL when that is larger than a head may be. `path` is the
# normal form that was matched, absent when it is the head's own; it becomes absent when the head has another one.
cdef head_t *route_acts_request(stream_t *s, const msg_t *m, span_t *path) noexcept nogil
# The answer as the client is to get it, for head_free; what finds no room is left out. There are edits.
cdef head_t *route_acts_response(stream_t *s, const msg_t *m) noexcept nogil
# Header lines of an answer of the proxy's own: those in `fields`, then those of the route. In memory that the next call
# uses again.
cdef span_t route_acts_fields(stream_t *s, span_t fields) noexcept nogil
# The line that tells where to go, likewise; absent when it is larger than it may be.
cdef span_t route_acts_location(stream_t *s, const msg_t *m, span_t path) noexcept nogil
# --- for others who write by the same rules: `m` is the request, or NULL --------------------------------
cdef enum:
    ROUTE_ACTS_PIECE = 128    # room for what a piece stands for, where it is made here

# What a piece stands for; absent when there is nothing. What an edit's header is to say.
cdef span_t route_acts_piece(const piece_t *p, stream_t *s, const msg_t *m, char *room) noexcept nogil
cdef span_t route_acts_value(const edit_t *e, stream_t *s, const msg_t *m) noexcept nogil
# `fields` with the lines of these edits, in the memory of route_acts_fields.
cdef span_t route_acts_lines(const edits_t *edits, stream_t *s, const msg_t *m, span_t fields) noexcept nogil
