"""How many further attempts a cluster may be asked for: a share of its requests, and some a second.

Both are counted over ten seconds: by default a fifth and ten a second, so a hundred may come at once. A budget follows
the traffic: whatever each request is allowed, what endpoints that fail are asked in all grows by that share at most.
(The token form of Finagle and Linkerd.)
"""
from libc.stdint cimport int64_t, uint32_t, uint64_t
from fastmesh._core.mem.window cimport WINDOW_SECONDS, window_add, window_t, window_turn

cdef enum:
    BUDGET_COST = 1000000     # of an attempt: all is counted in its millionths
    BUDGET_SHARE = 200000     # by default
    BUDGET_RATE = 10
    BUDGET_RATE_MOST = 100000


cdef inline void budget_earn(window_t *budget, uint32_t share, uint64_t now_ns) noexcept nogil:
    """A request has come. `share`: what it earns, in millionths of an attempt."""
    window_add(budget, now_ns, share)


cdef inline bint budget_spend(window_t *budget, uint32_t rate, uint64_t now_ns) noexcept nogil:
    """Takes one attempt; False when there is none left, and then nothing is taken. `rate`: attempts a second that are
    there without any request."""
    window_turn(budget, now_ns)
    if budget.sum + <int64_t>rate * WINDOW_SECONDS * BUDGET_COST < BUDGET_COST:
        return False
    window_add(budget, now_ns, -BUDGET_COST)
    return True
