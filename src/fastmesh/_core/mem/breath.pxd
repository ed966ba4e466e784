"""Breaths in long work of a worker: what takes long by what a snapshot holds lets requests go first, again and again.

Whoever begins such work says what a breath is; whoever does a part of it calls `breath_take` as often as he likes, and
at places at which anything may happen besides: requests that end, connections that close. Without a breath that was
set, and within one, nothing happens.
"""
from libc.stdint cimport uint64_t

cdef enum:
    BREATH_EACH_NS = 100000

cdef void breath_set(void (*fn)(void *) noexcept nogil, void *who) noexcept nogil      # NULL = no more
cdef void breath_take() noexcept nogil
# For tests: how many there were.
cdef uint64_t breaths() noexcept nogil
