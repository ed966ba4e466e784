"""Which subset of a cluster requests are for: values that the configuration has, or that a request says itself."""
from libc.stdint cimport uint8_t, uint32_t
from fastmesh._core.http.msg cimport msg_t
from fastmesh._core.mem.span cimport span_t

cdef enum:
    SUBSET_RULE_MAX = 8           # words of one rule

ctypedef struct subset_word_t:
    span_t name
    span_t header                 # lower case, whose value it is; empty = `value` is
    span_t value                  # likewise, where a request has no such header
    uint8_t has_value

ctypedef struct subset_rule_t:
    uint32_t cluster              # index into snapshot_t.clusters; of another one this rule says nothing
    uint32_t n
    subset_word_t *words          # in ascending order of names

# The value of a word for a request; False when there is none. `m`: NULL = nothing is known of its headers.
cdef bint subset_word_value(const subset_word_t *w, const msg_t *m, span_t *value) noexcept nogil
