"""How long an answer asks to be left alone (RFC 9110 section 10.2.3)."""
from libc.stdint cimport uint64_t
from fastmesh._core.mem.span cimport span_t

cdef enum:
    RETRY_AFTER_MAX_S = 31536000      # a year; more is taken for that

# Seconds, 0 when `value` says nothing that can be used. A date counts from `date`, the answer's own: the clocks of two
# machines need not agree. Only the form of date that senders must use is read (section 5.6.7: IMF-fixdate).
cdef uint64_t retry_after_seconds(span_t value, span_t date) noexcept nogil
