"""A path made of what parts of another one were.

The parts stand behind each other. A pass from the end marks where each part, with all that follows it, may begin; one
from the beginning gives each part as much as leaves room for the rest. Both are walks over tables: the time is the
length of the path times the number of parts, whatever the path is.
"""
from libc.stdint cimport int32_t, uint8_t, uint32_t
from fastmesh._core.mem.span cimport span_t
from fastmesh._core.route.pattern cimport pattern_t

cdef enum:
    CAPTURE_PARTS_MAX = 31    # bits of a mark, less one

ctypedef struct capture_part_t:
    const pattern_t *part
    const pattern_t *rest     # it and all that follows, read from the end

ctypedef struct capture_piece_t:
    int32_t part              # what this part was; -1: the text
    span_t text

# Writes the other path into `to`, which has room for `cap` bytes. Its length; -1 when the path is not of these parts,
# or the other one has no room.
cdef int32_t capture_replace(const capture_part_t *parts, uint32_t n_parts, const capture_piece_t *pieces,
                             uint32_t n_pieces, span_t path, uint8_t *to, uint32_t cap) noexcept nogil
