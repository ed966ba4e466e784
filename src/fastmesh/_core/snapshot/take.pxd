"""Reading a snapshot value by value, with the place of each kept for the refusal.

Everything read is checked: kind, range, length. The first fault ends the decoding; its text
names the place, what was found and what is allowed: "clusters[2].endpoints[0].weight: found 0,
must be at least 1".
"""
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t
from fastmesh._core.mem.arena cimport arena_t
from fastmesh._core.mem.span cimport span_t
from fastmesh._core.snapshot.unpack cimport unpack_t

cdef enum:
    TAKE_DEPTH = 8

ctypedef struct place_t:
    const char *name          # static storage
    int64_t index             # -1 = not in a list

ctypedef struct take_t:
    unpack_t u
    place_t places[8]         # TAKE_DEPTH; the way to where it reads
    uint32_t depth
    char *why
    uint32_t why_cap
    arena_t *arena            # borrowed; takes a copy of every text that is read


# All but the last three return True, or False after a refusal. `name` is the last step of the place; NULL = none.
cdef bint take_uint(take_t *t, const char *name, uint64_t least, uint64_t most, uint64_t *v) noexcept nogil
cdef bint take_u32(take_t *t, const char *name, uint32_t least, uint32_t most, uint32_t *v) noexcept nogil
cdef bint take_u8(take_t *t, const char *name, uint8_t most, uint8_t *v) noexcept nogil
cdef bint take_bool(take_t *t, const char *name, uint8_t *v) noexcept nogil
# Nanoseconds.
cdef bint take_duration(take_t *t, const char *name, uint64_t *v) noexcept nogil
# -1 … most - 1.
cdef bint take_index(take_t *t, const char *name, int64_t *v) noexcept nogil
# The same for a table that is read later: what is larger than any table is its largest number.
cdef bint take_place(take_t *t, const char *name, int32_t *v) noexcept nogil
cdef bint take_int(take_t *t, const char *name, int64_t *v) noexcept nogil
# The place of one of n entries that have been read: `nouns`, for the refusal.
cdef bint take_entry(take_t *t, const char *name, uint32_t n, const char *nouns, uint32_t *place) noexcept nogil
# A copy in the arena.
cdef bint take_bytes(take_t *t, const char *name, uint32_t least, uint32_t most, span_t *s) noexcept nogil
# As it lies in what is read, and as long as that.
cdef bint take_borrowed(take_t *t, const char *name, uint32_t least, uint32_t most, span_t *s) noexcept nogil
# Without control characters, so that it can stand in a header or a line of a log.
cdef bint take_text(take_t *t, const char *name, uint32_t least, uint32_t most, span_t *s) noexcept nogil
# A token of RFC 9110 section 5.6.2; without capitals when `is_lower`.
cdef bint take_token(take_t *t, const char *name, bint is_lower, span_t *s) noexcept nogil
# An array of exactly n values.
cdef bint take_record(take_t *t, const char *name, uint32_t n) noexcept nogil
# An array of up to `most` values, each of at least `bytes_each` bytes.
cdef bint take_list(take_t *t, const char *name, uint32_t bytes_each, uint32_t most, uint32_t *n) noexcept nogil
# What is in a list of n texts, or tokens in lower case, whose head has been read; `s` has room for n.
cdef bint take_texts(take_t *t, const char *name, uint32_t n, uint32_t least, uint32_t most, span_t *s) noexcept nogil
cdef bint take_tokens(take_t *t, const char *name, uint32_t n, span_t *s) noexcept nogil

# Steps into a list or record that has a name, and out again.
cdef void take_enter(take_t *t, const char *name) noexcept nogil
cdef void take_leave(take_t *t) noexcept nogil
# Writes the place and `text`; returns False.
cdef bint take_refuse(take_t *t, const char *name, const char *text) noexcept nogil


cdef inline void take_at(take_t *t, uint32_t i) noexcept nogil:
    t.places[t.depth - 1].index = i
