"""What decides about attempts beside the first, alone: the delay and the budget of one worker for one cluster, with a
clock that the caller has. For simulations."""
from libc.stdint cimport uint64_t
from libc.string cimport memset
from fastmesh._core.mem.recent cimport recent_add
from fastmesh._core.resil.budget cimport budget_earn, budget_spend
from fastmesh._core.resil.hedge_rule cimport hedge_delay, hedge_rule_t, hedging_t


cdef class Hedging:
    cdef hedge_rule_t rule
    cdef hedging_t seen

    def __cinit__(self, list rule):
        """`rule`: as it stands in a snapshot."""
        memset(&self.rule, 0, sizeof(hedge_rule_t))
        memset(&self.seen, 0, sizeof(hedging_t))
        self.rule.attempts, self.rule.delay_ns, self.rule.least_ns, self.rule.part = rule[:4]
        self.rule.share, self.rule.rate = rule[4:6]

    def request(self, uint64_t now_ns):
        """One comes in that may be hedged: after how long it is; 0 = that is not known yet."""
        budget_earn(&self.seen.budget, self.rule.share, now_ns)
        return self.delay(now_ns)

    def delay(self, uint64_t now_ns):
        return hedge_delay(&self.rule, &self.seen, now_ns)

    def spend(self, uint64_t now_ns):
        """Whether there may be one more attempt now."""
        return bool(budget_spend(&self.seen.budget, self.rule.rate, now_ns))

    def took(self, uint64_t took_ns, uint64_t now_ns):
        """An attempt was answered, or given up, after so long."""
        recent_add(&self.seen.times, took_ns, now_ns)
