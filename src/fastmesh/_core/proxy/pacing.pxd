"""Answers whose bodies go to the client no faster than a fault of the route says.

What has come too early is kept, and no more of the answer is read until it has gone: at most what one read brings, and
what a filter makes of that. How it goes on is proxy/pace's.
"""
from libc.stdint cimport uint32_t
from fastmesh._core.proxy.mux cimport stream_t

# `rate`: bytes a second. Before the answer begins.
cdef void pacing_begin(stream_t *s, uint32_t rate) noexcept nogil
# --- while s.pace is there ---
# The client takes more. True: what is kept comes first.
cdef bint pacing_on_drained(stream_t *s) noexcept nogil
cdef uint32_t pacing_held(const stream_t *s) noexcept nogil      # bytes
cdef void pacing_drop(stream_t *s) noexcept nogil            # the stream ends
