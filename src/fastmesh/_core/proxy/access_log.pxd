"""The access log: one line per exchange into a ring in shared memory, which control empties.

The worker never waits for a reader: a line that finds no room is dropped and counted.
"""
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from fastmesh._core.mem.span cimport span_t
from fastmesh._core.proxy.mux cimport proxy_t, stream_t
from fastmesh._core.snapshot.snapshot cimport log_op_t, snapshot_t

# Numbers of the fields, as in the snapshot's log ops.
cdef enum:
    LOG_LITERAL = 0
    LOG_START_TIME = 1
    LOG_METHOD = 2
    LOG_PATH = 3
    LOG_PROTOCOL = 4
    LOG_RESPONSE_CODE = 5
    LOG_RESPONSE_FLAGS = 6
    LOG_RESPONSE_CODE_DETAILS = 7
    LOG_BYTES_RECEIVED = 8
    LOG_BYTES_SENT = 9
    LOG_DURATION = 10
    LOG_UPSTREAM_SERVICE_TIME = 11
    LOG_REQUEST_HEADER = 12
    LOG_RESPONSE_HEADER = 13
    LOG_AUTHORITY = 14
    LOG_UPSTREAM_HOST = 15
    LOG_UPSTREAM_CLUSTER = 16
    LOG_ROUTE_NAME = 17
    LOG_LISTENER = 18
    LOG_DOWNSTREAM_REMOTE_ADDRESS = 19
    LOG_REQUEST_ID = 20
    LOG_CONNECTION_ID = 21
    LOG_ATTEMPTS = 22
    LOG_PROXY_TIME = 23
    LOG_X_FORWARDED_FOR = 24
    LOG_USER_AGENT = 25
    LOG_LABEL = 26            # of filters, by its name
    LOG_LABELS = 27           # all of them: a JSON object, or name=value with commas
    LOG_RATE_LIMITED_BY = 28  # names of rate limits
    LOG_CLIENT = 29
    LOG_DEGRADED = 30


# The names of response flags with commas between them, "-" for none; `room` has 160 bytes.
cdef span_t flags_text(uint32_t flags, char *room) noexcept nogil
# With S_LATE_LABELS, and labels in the format, the line is not written but left at s.late.
cdef void access_log_put(stream_t *s, uint64_t now_ns) noexcept nogil

cdef enum:
    LATE_MOST = 16            # places of labels in a line that wait; further ones hold what there is

ctypedef struct late_mark_t:
    uint32_t at               # the bytes before it
    const log_op_t *op        # the snapshot's

# A line whose labels are still to come. Owned by whoever took it from the stream.
ctypedef struct late_line_t:
    proxy_t *proxy
    snapshot_t *snap          # one reference
    uint32_t n
    uint32_t n_marks
    late_mark_t marks[16]
    uint8_t *bytes            # behind this, in the same memory

# Writes it with these labels (as stream_t.labels), and frees it.
cdef void access_log_put_late(late_line_t *late, const uint8_t *labels, uint32_t labels_len) noexcept nogil
