"""Which attempt it is, as upstreams are told: so only one of the proxies on the way tries a request again.

`x-envoy-attempt-count` is 1 for the first attempt. What a request came with counts on: the second attempt of a proxy
before this one is no first one for anybody behind. Who writes a number into it himself only loses attempts.
"""
from libc.stdint cimport uint8_t, uint32_t
from fastmesh._core.http.msg cimport msg_t
from fastmesh._core.proxy.mux cimport stream_t

cdef enum:
    MARK_ROOM = 40            # bytes of head

# Before the fields are copied: the one that is written anew is dropped, and its number kept. False when a filter has
# set it, and then it stays.
cdef bint attempt_mark_take(stream_t *s, msg_t *m) noexcept nogil
# Writes the field with room for its value; the end of what was written.
cdef uint8_t *attempt_mark_put(stream_t *s, uint8_t *to) noexcept nogil
# The head is about to leave with this attempt.
cdef void attempt_mark_tell(stream_t *s, uint32_t attempt) noexcept nogil
# Another proxy has tried this request before.
cdef bint attempt_mark_is_retry(stream_t *s) noexcept nogil
