"""Copies of requests on their way to clusters whose answers nobody sees.

Each is a stream of its own, with the limits, balancing and counters of its cluster; nothing of the original's waits for
it.
"""
from libc.stdint cimport uint32_t
from fastmesh._core.mem.block cimport block_t
from fastmesh._core.proxy.mux cimport proxy_t, stream_t
from fastmesh._core.route.mirror_rule cimport mirror_rule_t

# proxy_t.copy. `body` is shared; NULL = there is none. Beyond a thousand under way there is no further one.
cdef void mirror_copy(stream_t *s, const mirror_rule_t *rule, block_t *body, uint32_t body_len) noexcept nogil
# The worker ends: gives up what is under way. All of it is given back within the next turn.
cdef void mirrors_close(proxy_t *p) noexcept nogil
