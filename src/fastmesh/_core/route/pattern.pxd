"""Patterns: tables that take whole texts, one step for each byte.

They are made from regular expressions and templates by fastmesh/config/automaton.py. Whatever a text is, it costs its
length and no more.
"""
from libc.stdint cimport uint8_t, uint16_t, uint32_t
from fastmesh._core.mem.span cimport span_t

cdef enum:
    PATTERN_DEAD = 0          # the state that nothing leads out of
    PATTERN_START = 1
    # flags of a state
    PATTERN_NO = 0            # a text that ends here is not taken
    PATTERN_YES = 1
    PATTERN_WHATEVER = 2      # taken, whatever follows
    PATTERN_CELLS_MAX = 65536 # states times classes

ctypedef struct pattern_t:
    const uint8_t *classes    # 256: the class of each byte, all below n_classes
    const uint8_t *flags      # n_states
    const uint16_t *table     # n_states x n_classes, all below n_states
    uint32_t n_states         # at least 2
    uint32_t n_classes


cdef inline bint pattern_takes(const pattern_t *p, span_t text) noexcept nogil:
    cdef uint32_t state = PATTERN_START
    cdef uint32_t i
    for i in range(text.len):
        state = p.table[state * p.n_classes + p.classes[text.ptr[i]]]
        if state == PATTERN_DEAD:
            return False
        if p.flags[state] == PATTERN_WHATEVER:
            return True
    return p.flags[state] != PATTERN_NO
