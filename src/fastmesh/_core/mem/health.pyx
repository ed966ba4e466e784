"""See health.pxd."""
from libc.stdint cimport uint64_t
from libc.string cimport memcpy, memset
from posix.mman cimport MAP_ANONYMOUS, MAP_FAILED, MAP_SHARED, PROT_READ, PROT_WRITE, mmap, munmap
from fastmesh._core.mem.segment cimport word_add, word_get, word_set
from fastmesh._core.mem.streak cimport streaks_end

cdef extern from "<sys/mman.h>" nogil:
    int MAP_NORESERVE

cdef uint64_t MAGIC = 0x31746C6165686D66


cdef health_t *health_map(int fd) noexcept nogil:
    cdef int flags = MAP_SHARED | MAP_NORESERVE if fd >= 0 else MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE
    cdef void *at = mmap(NULL, sizeof(health_t), PROT_READ | PROT_WRITE, flags, fd, 0)
    cdef health_t *h = <health_t *>at
    if at == MAP_FAILED:
        return NULL
    # Whoever comes first writes it; that several do at once is no harm.
    if word_get(&h.header.magic) == 0:
        h.header.layout = HEALTH_LAYOUT
        word_set(&h.header.magic, MAGIC)
    if h.header.magic != MAGIC or h.header.layout != HEALTH_LAYOUT:
        munmap(at, sizeof(health_t))
        return NULL
    return h


cdef void health_unmap(health_t *h) noexcept nogil:
    if h is not NULL:
        munmap(h, sizeof(health_t))


cdef endpoint_health_t *health_endpoint(health_t *h, uint64_t row, uint64_t key) noexcept nogil:
    cdef endpoint_health_t *e
    cdef uint64_t was
    # The last stands for all that have none of their own.
    if h is NULL or row >= HEALTH_ENDPOINTS - 1:
        return NULL
    e = &h.endpoints[row]
    was = word_get(&e.key)
    # Nothing stands in a row that nobody has had, unless control has just written there.
    if was != key and word_cas(&e.key, was, key) and was != 0:
        memset(<char *>e + sizeof(uint64_t), 0, sizeof(endpoint_health_t) - sizeof(uint64_t))
    if not health_is_claimed(h, row):
        word_or(&h.claimed[row >> 6], <uint64_t>1 << (row & 63))
    return e


cdef cluster_health_t *health_cluster(health_t *h, uint64_t row, uint64_t key) noexcept nogil:
    cdef cluster_health_t *c
    cdef uint64_t was
    if h is NULL or row >= HEALTH_CLUSTERS - 1:
        return NULL
    c = &h.clusters[row]
    was = word_get(&c.key)
    if was != key and word_cas(&c.key, was, key) and was != 0:
        memset(<char *>c + sizeof(uint64_t), 0, sizeof(cluster_health_t) - sizeof(uint64_t))
    return c


cdef void health_come_back(health_t *h, cluster_health_t *c, uint64_t cluster_row, endpoint_health_t *e,
                           uint64_t endpoint_row, uint64_t now_ns) noexcept nogil:
    cdef health_event_t event
    e.healthy_ns = now_ns
    streaks_end(e)
    word_set(&e.until_ns, 0)
    word_set(&e.probe_ns, 0)
    word_set(&c.full_until_ns, 0)
    word_add(&c.recovered, 1)
    memset(&event, 0, sizeof(event))
    event.at_ns = now_ns
    event.endpoint = endpoint_row
    event.cluster = cluster_row
    event.kind = EVENT_RECOVERED
    event.reason = e.reason
    event.for_ns = now_ns - e.since_ns if now_ns > e.since_ns else 0
    event.times = e.times
    health_tell(h, &event)
    word_add(&c.epoch, 1)


cdef void health_tell(health_t *h, health_event_t *e) noexcept nogil:
    cdef uint64_t number = <uint64_t>word_add(&h.header.n_events, 1)
    cdef health_event_t *place = &h.events[number & (HEALTH_EVENTS - 1)]
    # 0 while it is being written: a reader that sees the same number before and after has read one event.
    word_set(&place.number, 0)
    memcpy(<char *>place + sizeof(uint64_t), <char *>e + sizeof(uint64_t), sizeof(health_event_t) - sizeof(uint64_t))
    word_set(&place.number, number)


# In the order of BY_* and of the columns of the structs.
REASONS = ("server_errors", "gateway_errors", "connect_failures", "timeouts", "success_rate", "failure_percentage",
           "latency", "probe")
KINDS = {EVENT_EJECTED: "ejected", EVENT_RECOVERED: "recovered", EVENT_REFUSED: "ejection_refused",
         EVENT_WATCHED: "ejection_watched"}
EVENT_COLUMNS = ("number", "at_ns", "endpoint", "cluster", "kind", "reason", "for_ns", "times", "seen", "figure",
                 "bound")
ENDPOINT_COLUMNS = ("key", "until_ns", "probe_ns", "since_ns", "times", "reason", "healthy_ns", "watched_ns")
CLUSTER_COLUMNS = ("key", "epoch", "judge_ns", "sweep_ns", "full_until_ns", "out", "reserved1", "reserved2",
                   *REASONS, "recovered", "refused", "watched", "probes")

cdef enum:
    BASE = 1 << 30


def _layout():
    # Stands for an address; nothing is read there.
    cdef health_t *h = <health_t *><size_t>BASE
    assert len(REASONS) == BY_COUNT
    return {
        "size": sizeof(health_t),
        "n_events": <size_t>&h.header.n_events - BASE,
        "events": <size_t>&h.events[0] - BASE,
        "event_stride": sizeof(health_event_t),
        "event_places": HEALTH_EVENTS,
        "clusters": <size_t>&h.clusters[0] - BASE,
        "cluster_stride": sizeof(cluster_health_t),
        "cluster_rows": HEALTH_CLUSTERS,
        "endpoints": <size_t>&h.endpoints[0] - BASE,
        "endpoint_stride": sizeof(endpoint_health_t),
        "endpoint_rows": HEALTH_ENDPOINTS,
        "seats": <size_t>&h.seats - BASE,
    }


LAYOUT = _layout()
