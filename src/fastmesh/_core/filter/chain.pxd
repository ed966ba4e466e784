"""A filter in a worker: its methods, what it may take, and what it has taken."""
from cpython.ref cimport PyObject
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from fastmesh._core.mem.counter cimport filter_row_t, stats_t

cdef enum:
    ON_ERROR_CLOSED = 0
    ON_ERROR_OPEN = 1
    ON_ERROR_SKIP = 2

    KIND_NONE = 0
    KIND_PLAIN = 1
    KIND_CHUNK = 2
    KIND_WHOLE = 3
    KIND_STREAM = 4

    STAGES_MAX = 64           # filters of one exchange: their bits fit a word
    OVERRUN_TIMES = 4         # budgets, from which on an overrun counts towards a quarantine

ctypedef struct slot_t:
    PyObject *owner           # the Slot, which the table keeps
    PyObject *calls[16]       # bound methods, kept by the Slot; by PHASE_*
    uint8_t kinds[16]
    uint32_t phases           # a bit per PHASE_*
    uint32_t number           # row + 1
    filter_row_t *row
    uint64_t budget_ns        # of one go
    uint64_t hang_ns          # after which a filter that runs on is interrupted
    uint64_t timeout_ns       # of a phase with all that it waits for
    uint32_t body_limit
    uint8_t on_error
    uint8_t is_shadow
    uint8_t changes_body
    uint8_t is_late           # labels that its on_complete sets come after the exchange
    # Quarantine.
    uint32_t failures         # since window_ns began
    uint32_t failures_most
    uint64_t since_ns
    uint64_t window_ns
    uint64_t pause_ns         # the next one
    uint64_t pause_first_ns
    uint64_t pause_most_ns
    uint64_t bypassed_until_ns    # 0 = in use
    # Of each second.
    uint64_t second_most_ns   # what all goes together may take; 0 = no limit
    uint64_t second_since_ns
    uint64_t second_ns        # taken since then


cdef class Slot:
    cdef slot_t c
    cdef readonly object filter
    cdef readonly str name
    cdef readonly bytes details   # of an answer that its failure brings about
    cdef readonly bytes answered  # of one that it gives
    cdef readonly bytes timed     # of one to a request that took longer than it allows
    cdef object report
    cdef public object witness    # of a test: called with the phase and each exception
    cdef object methods
    cdef set seen
    cdef void failed(self, int phase, BaseException error, uint64_t now_ns) noexcept
    cdef void shadowed(self, int phase, list would) noexcept
    cdef void overran(self, int phase, uint64_t took_ns, uint64_t now_ns) noexcept
    cdef void overspent(self, int phase) noexcept
    cdef void _count(self, uint64_t now_ns, str why) noexcept
    cdef void quarantine(self, uint64_t now_ns, str why) noexcept


cdef class Table:
    """The filters of one snapshot, in the order of its rules."""
    cdef readonly list slots
    cdef slot_t **c
    cdef uint32_t n
    cdef readonly object on_free      # called when no snapshot and no exchange uses it any more
    cdef readonly list balancers      # those of the snapshot's clusters: balance.pyx
    cdef void attach(self, stats_t *stats) noexcept


# True while the filter is bypassed. Ends a quarantine whose time is over.
cdef bint slot_is_bypassed(slot_t *c, uint64_t now_ns) noexcept
# Around every go of a filter's code: begin returns the time, end counts, and returns how long it took, in ns.
cdef uint64_t slot_begin(slot_t *c) noexcept
# `is_call`: the phase was called; not: a coroutine of an earlier call went on.
cdef uint64_t slot_end(slot_t *c, int phase, uint64_t begun_ns, bint is_call) noexcept
# How often that was since the process began: goes of any filter.
cdef uint32_t slot_entries() noexcept nogil
# The name of a phase, as authors write it.
cdef str phase_name(int phase, int kind)
