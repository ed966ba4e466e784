"""See take_metric_labels.pxd."""
from fastmesh._core.mem.counter cimport STATS_LABEL_NAME
from fastmesh._core.mem.label_table cimport LABEL_VALUES_MOST, LABELS_MOST
from fastmesh._core.snapshot.take cimport take_enter, take_leave, take_list, take_record, take_t, take_texts, take_u32
from fastmesh._core.snapshot.unpack cimport unpack_nil


cdef bint take_metric_labels(take_t *t, metric_labels_t *m) noexcept nogil:
    if unpack_nil(&t.u):
        return True
    if not take_record(t, b"metric_labels", 2):
        return False
    take_enter(t, b"metric_labels")
    if not take_list(t, b"names", 2, LABELS_MOST, &m.n):
        return False
    if not (take_texts(t, b"names", m.n, 1, STATS_LABEL_NAME, m.names) and
            take_u32(t, b"values", 1, LABEL_VALUES_MOST, &m.most)):
        return False
    take_leave(t)
    return True
