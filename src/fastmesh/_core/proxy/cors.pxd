"""What a route says of pages of other origins: each answer tells who may read it."""
from libc.stdint cimport uint8_t, uint32_t
from fastmesh._core.http.edit cimport head_t
from fastmesh._core.http.msg cimport msg_t
from fastmesh._core.mem.span cimport span_t
from fastmesh._core.proxy.emit cimport put_bytes, put_span
from fastmesh._core.proxy.mux cimport stream_t

# The route of the request has a rule: sets s.origin.
cdef void cors_meets(stream_t *s, const msg_t *m) noexcept nogil
# The rule of the route lets it read: then s.origin is what is told to it.
cdef bint cors_knows(stream_t *s, span_t origin) noexcept nogil
# The answer's head without what the upstream says of origins. `h`: a copy of it, or NULL; a copy to be freed, or NULL
# where there is nothing to be taken away.
cdef head_t *cors_without(head_t *h, const msg_t *m) noexcept nogil
# Header lines without those, likewise. In memory that the next call uses again.
cdef span_t cors_lines(span_t fields) noexcept nogil
# What an answer says of its own, where the route has a rule. `m`: its head, or NULL.
cdef uint32_t cors_room(const stream_t *s) noexcept nogil
cdef uint8_t *cors_put(const stream_t *s, const msg_t *m, uint8_t *to) noexcept nogil


cdef inline uint8_t *cors_line(uint8_t *to, const char *name, uint32_t n, span_t value) noexcept nogil:
    if value.len == 0:
        return to
    to = put_bytes(to, name, n)
    to = put_bytes(to, b": ", 2)
    to = put_span(to, value)
    return put_bytes(to, b"\r\n", 2)
