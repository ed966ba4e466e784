"""Requests whose bodies go to the upstream no faster than a fault of the route says.

What has come too early is kept, and no more of the body is read until it has gone: at most what one read brings, and
what a filter makes of that. How it goes on is proxy/pace's; each attempt begins anew.
"""
from libc.stdint cimport uint32_t
from fastmesh._core.proxy.mux cimport stream_t

# `rate`: bytes a second. Before the first attempt.
cdef void pacing_up_begin(stream_t *s, uint32_t rate) noexcept nogil
# --- while s.pace_up is there ---
# The upstream takes more. True: what is kept comes first.
cdef bint pacing_up_on_drained(stream_t *s) noexcept nogil
# Part of the request has not gone yet: its connection is in the middle of a message.
cdef bint pacing_up_is_behind(const stream_t *s) noexcept nogil
cdef uint32_t pacing_up_held(const stream_t *s) noexcept nogil     # bytes
cdef void pacing_up_drop(stream_t *s) noexcept nogil               # the stream ends
