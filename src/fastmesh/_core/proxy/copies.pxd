"""Which mirrors of its route a request is copied to, and its body until it is complete.

A copy leaves (`proxy_t.copy`, mirror.pyx) when the request is complete as its own cluster gets it: what a client
breaks off is never copied, nor what is larger than REPLAY_MAX.
"""
from libc.stdint cimport uint8_t, uint32_t
from fastmesh._core.http.msg cimport msg_t
from fastmesh._core.mem.span cimport span_t
from fastmesh._core.proxy.mux cimport stream_t

# Draws who gets this request, and sends it when there is no body to come. `path`: the normal form, absent when the
# head's own path is.
cdef void copies_begin(stream_t *s, const msg_t *m, span_t path) noexcept nogil
# --- while s.copies is there ---
cdef void copies_body(stream_t *s, const uint8_t *p, uint32_t n) noexcept nogil
cdef void copies_send(stream_t *s) noexcept nogil          # the body is complete
cdef void copies_forget(stream_t *s) noexcept nogil        # it never will be
