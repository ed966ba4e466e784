"""How many further attempts a cluster may be asked for: a fifth of its requests, and ten a second.

Both are counted over ten seconds, so a hundred may come at once. A budget follows the traffic: whatever each request
is allowed, what endpoints that fail are asked in all grows by a fifth at most. (The token form of Finagle and Linkerd.)
"""
from libc.stdint cimport uint64_t
from fastmesh._core.mem.window cimport window_add, window_t, window_turn

cdef enum:
    BUDGET_COST = 5           # requests that pay for one attempt
    BUDGET_RESERVE = 500      # requests' worth that is there without any: 10 attempts a second, for the window's ten


cdef inline void budget_earn(window_t *budget, uint64_t now_ns) noexcept nogil:
    """A request has come."""
    window_add(budget, now_ns, 1)


cdef inline bint budget_spend(window_t *budget, uint64_t now_ns) noexcept nogil:
    """Takes one attempt; False when there is none left, and then nothing is taken."""
    window_turn(budget, now_ns)
    if budget.sum + BUDGET_RESERVE < BUDGET_COST:
        return False
    window_add(budget, now_ns, -BUDGET_COST)
    return True
