"""See label_count.pxd."""
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from fastmesh._core.lb.cluster cimport cluster_t
from fastmesh._core.mem.counter cimport label_row_observe
from fastmesh._core.mem.label cimport label_find
from fastmesh._core.mem.label_table cimport labelled_way_t, label_table_new, label_table_row
from fastmesh._core.mem.raw cimport raw_give, raw_take
from fastmesh._core.mem.span cimport span_of
from fastmesh._core.proxy.mux cimport S_LATE_LABELS
from fastmesh._core.route.route_table cimport route_t
from fastmesh._core.snapshot.snapshot cimport listener_t, metric_labels_t, snapshot_get, snapshot_put


cdef void _count(const late_count_t *c, const uint8_t *labels, uint32_t labels_len) noexcept nogil:
    cdef metric_labels_t *wanted = &c.snap.metric_labels
    cdef proxy_t *p = c.proxy
    cdef labelled_way_t way
    cdef uint32_t i
    if p.labelled is NULL:
        p.labelled = label_table_new(&p.stats.labelled)
        if p.labelled is NULL:
            return
    way.listener = (<const listener_t *>c.listener).name
    way.route = (<const route_t *>c.route).name if c.route is not NULL else span_of(NULL, 0)
    way.cluster = (<const cluster_t *>c.cluster).name if c.cluster is not NULL else span_of(NULL, 0)
    way.n = wanted.n
    way.names = wanted.names
    for i in range(wanted.n):
        way.values[i] = label_find(labels, labels_len, wanted.names[i])
    label_row_observe(label_table_row(p.labelled, &way, wanted.most), c.hundred, c.took_ns)


cdef void label_count_put(stream_t *s, uint64_t now_ns) noexcept nogil:
    cdef late_count_t *late
    cdef late_count_t now
    now.proxy = s.proxy
    now.snap = s.snap
    now.listener = s.listener
    now.route = s.route
    now.cluster = s.cluster
    now.hundred = s.status // 100
    now.took_ns = now_ns - s.start_ns
    if s.bits & S_LATE_LABELS:
        late = <late_count_t *>raw_take(sizeof(late_count_t))
        late[0] = now
        snapshot_get(late.snap)
        s.late_count = late
    else:
        _count(&now, s.labels, s.labels_len)


cdef void label_count_put_late(late_count_t *late, const uint8_t *labels, uint32_t labels_len) noexcept nogil:
    _count(late, labels, labels_len)
    snapshot_put(late.snap)
    raw_give(late)
