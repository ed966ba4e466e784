"""How far a message's body has come: one stepper for all framings (RFC 9112 section 6)."""
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from fastmesh._core.mem.fault cimport FM_EPROTO
from fastmesh._core.mem.span cimport span_t
from fastmesh._core.http.msg cimport FRAME_CHUNKED, FRAME_CLOSE, FRAME_LENGTH, FRAME_NONE
from fastmesh._core.http.chunked cimport chunked_init, chunked_step, chunked_t

cdef enum:
    BODY_OPEN = 0             # payload may come
    BODY_TRAILERS = 1         # the last chunk is in: a trailer section follows
    BODY_DONE = 2

ctypedef struct body_t:
    uint8_t framing           # framing_t
    uint8_t state             # BODY_*
    uint64_t left             # FRAME_LENGTH: bytes still to come
    chunked_t chunks


cdef inline void body_init(body_t *b, int framing, uint64_t length) noexcept nogil:
    b.framing = <uint8_t>framing
    b.left = length
    b.state = BODY_DONE if framing == FRAME_NONE or (framing == FRAME_LENGTH and length == 0) else BODY_OPEN
    if framing == FRAME_CHUNKED:
        chunked_init(&b.chunks)


cdef inline int body_step(body_t *b, const uint8_t *p, uint32_t n, span_t *payload) noexcept nogil:
    """Consumes some of p[0:n), n > 0, in state BODY_OPEN; `payload` is a run within it, perhaps of length 0.

    Returns bytes consumed, or FM_EPROTO.
    """
    cdef int rc
    payload.ptr = p
    payload.len = 0
    if b.framing == FRAME_LENGTH:
        payload.len = n if n < b.left else <uint32_t>b.left
        b.left -= payload.len
        if b.left == 0:
            b.state = BODY_DONE
        return <int>payload.len
    if b.framing == FRAME_CLOSE:
        payload.len = n
        return <int>n
    rc = chunked_step(&b.chunks, p, n, payload)
    if rc > 0 and b.chunks.done:
        b.state = BODY_TRAILERS
    return rc if rc > 0 else FM_EPROTO
