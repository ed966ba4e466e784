"""A door for tests onto the table of requests by labels, in the shared memory of a statistics file."""
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from fastmesh._core.mem.counter cimport label_row_observe, label_row_t, stats_map, stats_t, stats_unmap
from fastmesh._core.mem.label_table cimport (
    label_table_free, label_table_new, label_table_row, label_table_t, labelled_way_t)
from fastmesh._core.mem.span cimport span_of, span_t


cdef class Table:
    """As one worker has it. The file outlives it."""
    cdef stats_t *stats
    cdef label_table_t *t

    def __cinit__(self, int fd):
        self.stats = stats_map(fd)
        self.t = label_table_new(&self.stats.labelled)

    def __dealloc__(self):
        label_table_free(self.t)
        stats_unmap(self.stats)

    def count(self, tuple way, dict labels, uint32_t most=100, uint32_t status=200, uint64_t took_ns=1000000):
        """One request that went `(listener, route, cluster)`; its row. A value may be None: there is no such label."""
        cdef labelled_way_t w
        cdef span_t names[4]
        cdef label_row_t *row
        w.n = 0
        w.names = names
        w.listener = span_of(<const uint8_t *><char *>way[0], len(way[0]))
        w.route = span_of(<const uint8_t *><char *>way[1], len(way[1]))
        w.cluster = span_of(<const uint8_t *><char *>way[2], len(way[2]))
        for name, value in labels.items():
            names[w.n] = span_of(<const uint8_t *><char *>name, len(name))
            w.values[w.n] = (span_of(NULL, 0) if value is None else
                             span_of(<const uint8_t *><char *>value, len(value)))
            w.n += 1
        row = label_table_row(self.t, &w, most)
        label_row_observe(row, status // 100, took_ns)
        return row - &self.stats.labelled.rows[0]

    def spoil(self, uint32_t row, bytes text, uint64_t size):
        """As a filter may, that writes anywhere."""
        cdef const char *p = text
        self.stats.labelled.rows[row].size = size
        for i in range(len(text)):
            self.stats.labelled.rows[row].text[i] = p[i]

    @property
    def rows(self):
        return self.stats.labelled.head.n_rows
