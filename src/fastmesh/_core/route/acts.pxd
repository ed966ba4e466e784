"""What a route does to the requests it takes and to their answers, apart from choosing a cluster."""
from libc.stdint cimport uint8_t, uint16_t, uint32_t
from fastmesh._core.mem.span cimport span_t
from fastmesh._core.route.capture cimport capture_part_t, capture_piece_t

cdef enum edit_op_t:
    EDIT_REMOVE = 0
    EDIT_SET = 1              # in place of what there is
    EDIT_ADD = 2

cdef enum change_kind_t:
    CHANGE_NONE = 0
    CHANGE_WHOLE = 1
    CHANGE_PREFIX = 2
    CHANGE_PARTS = 3

# A part of a header's value: a literal, or a field as in a line of the access log.
ctypedef struct piece_t:
    uint8_t field             # LOG_* of proxy/access_log; 0 = literal
    span_t text               # the literal, or the name of a header in lower case

ctypedef struct edit_t:
    uint8_t op
    uint16_t n                # of pieces
    span_t name               # lower case; none of those that filters may not set, nor host
    piece_t *pieces

ctypedef struct edits_t:
    uint16_t n
    bint has_id               # one of them tells the number of the request
    edit_t *edits

# Another path.
ctypedef struct change_t:
    uint8_t kind
    span_t text
    uint32_t cut              # CHANGE_PREFIX: so many bytes make room for the text
    uint32_t n_parts          # CHANGE_PARTS: at most CAPTURE_PARTS_MAX
    uint32_t n_pieces
    capture_part_t *parts     # of the path as it is, one behind the other
    capture_piece_t *pieces   # of the other one

ctypedef struct acts_t:
    bint is_redirect
    bint strips_query         # of a redirect, as the four below
    uint16_t port             # 0 = as asked for
    span_t scheme             # empty = as asked for
    span_t place              # its host; empty = as asked for
    span_t host               # for the cluster; empty = as asked for
    change_t change           # of the redirect, or for the cluster
    edits_t request
    edits_t response
