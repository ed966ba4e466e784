"""The subset of its cluster that a filter sends a request to, and what filters read of it."""
from fastmesh._core.http.msg cimport msg_t
from fastmesh._core.proxy.mux cimport stream_t
from fastmesh._core.route.subset_rule cimport subset_rule_t, subset_word_t


cdef class SubsetAsked:
    cdef subset_rule_t rule       # streams point here: whoever sets it for one keeps this object
    cdef subset_word_t words[8]
    cdef tuple kept           # bytes that the words point into


# For the cluster that the stream has now. Raises TypeError for what is no subset, ValueError where the cluster has none
# by these names.
cdef SubsetAsked subset_asked(stream_t *s, object words)
# What is asked for is said by a header of the request.
cdef bint subset_needs_head(const stream_t *s) noexcept
# Names and values, or None for all endpoints: what is asked for, and once a subset is chosen, what that one's endpoints
# have. `m`: the request; may be NULL when it is not needed.
cdef dict subset_told(stream_t *s, const msg_t *m)
