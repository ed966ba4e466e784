"""Requests counted by the labels that filters gave them: finds the row of a worker's shared memory (counter.pxd:
labelled_t), and makes it when it is new.

Values may be chosen by whoever sends requests. So the values that each label has are bounded, and what comes beyond is
"other"; the rows are bounded; and what finds them is hashed with a seed that nobody knows.
"""
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from fastmesh._core.mem.counter cimport label_row_t, labelled_t
from fastmesh._core.mem.span cimport span_t

cdef enum:
    LABELS_MOST = 4           # by which requests are counted at the same time
    LABEL_WAY_BYTES = 127     # of the name of a listener, route or cluster
    LABEL_VALUE_BYTES = 64    # the rest is cut off
    LABEL_VALUES_MOST = 1000  # of one label
    LABEL_NAMES_MOST = 32     # that ever counted here: of further ones every value is "other"
    LABEL_SLOTS = 8192        # twice the rows
    LABEL_SEEN = 65536        # twice the values of all names

# A name, and how many values it has.
ctypedef struct label_name_t:
    uint64_t hash
    uint32_t n

ctypedef struct label_table_t:
    labelled_t *shared        # borrowed
    uint64_t seed[2]
    label_name_t names[32]
    uint32_t n_names
    uint32_t slots[8192]      # place of a row + 1, by the hash of its text; 0 = free
    uint64_t seen[65536]      # hash of a name with a value; 0 = free

# Where a request went, and what its labels are: `values[i]` of `names[i]`, absent where it has none.
ctypedef struct labelled_way_t:
    span_t listener, route, cluster
    uint32_t n
    const span_t *names
    span_t values[4]

# With the rows that are there already. NULL when there is no memory.
cdef label_table_t *label_table_new(labelled_t *shared) noexcept nogil
cdef void label_table_free(label_table_t *t) noexcept nogil
# Never NULL: row 0 takes what does not fit. `most`: values that a label may have.
cdef label_row_t *label_table_row(label_table_t *t, const labelled_way_t *way, uint32_t most) noexcept nogil
