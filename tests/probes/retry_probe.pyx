"""Doors for tests onto what further attempts are decided by: the window, the budget, the pause."""
from libc.stdint cimport int64_t, uint32_t, uint64_t
from fastmesh._core.filter.retry_rule cimport Retry
from fastmesh._core.mem.window cimport window_add, window_t, window_turn
from fastmesh._core.resil.budget cimport BUDGET_RATE, BUDGET_SHARE, budget_earn, budget_spend
from fastmesh._core.resil.retry cimport (
    FAULT_CONNECT, FAULT_CONNECT_TIMEOUT, FAULT_PROTOCOL, FAULT_RESET, FAULT_STATUS, FAULT_TIMEOUT, retry_names,
    retry_pause, retry_spread)

FAULTS = {"connect": FAULT_CONNECT, "connect_timeout": FAULT_CONNECT_TIMEOUT, "reset": FAULT_RESET,
          "protocol": FAULT_PROTOCOL, "status": FAULT_STATUS, "timeout": FAULT_TIMEOUT}


cdef class Window:
    cdef window_t w

    def add(self, uint64_t now_ns, int64_t n=1):
        window_add(&self.w, now_ns, n)

    def sum(self, uint64_t now_ns):
        window_turn(&self.w, now_ns)
        return self.w.sum

    def earn(self, uint64_t now_ns, uint32_t share=BUDGET_SHARE):
        budget_earn(&self.w, share, now_ns)

    def spend(self, uint64_t now_ns, uint32_t rate=BUDGET_RATE):
        return budget_spend(&self.w, rate, now_ns)


def names(Retry rule, str fault, uint32_t status=0):
    """The rule is about such a failure."""
    return retry_names(&rule.c, FAULTS[fault], status)


def pauses(Retry rule, uint32_t n, uint64_t seed, uint32_t count):
    """So many pauses before the n-th further attempt, in seconds."""
    cdef uint64_t rng = seed
    return [retry_pause(&rule.c, n, &rng) / 1e9 for _ in range(count)]


def spreads(double wait, double left, uint64_t seed, uint32_t count):
    """What is added so many times to a wait, in seconds."""
    cdef uint64_t rng = seed
    return [retry_spread(<uint64_t>(wait * 1e9), <uint64_t>(left * 1e9), &rng) / 1e9 for _ in range(count)]
