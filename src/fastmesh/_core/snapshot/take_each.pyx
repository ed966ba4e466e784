"""See take_each.pxd."""
from fastmesh._core.snapshot.take cimport take_at, take_enter, take_leave, take_list

cdef enum:
    USES_MAX = 1 << 20


cdef bint take_each(take_t *t, snapshot_t *s, const char *name, uint32_t n,
                    bint (*item)(take_t *, snapshot_t *, uint32_t) noexcept nogil) noexcept nogil:
    cdef uint32_t i
    take_enter(t, name)
    for i in range(n):
        take_at(t, i)
        if not item(t, s, i):
            return False
    take_leave(t)
    return True


cdef bint take_uses(take_t *t, snapshot_t *s, const char *name, uint32_t bytes_each,
                    bint (*item)(take_t *, snapshot_t *, uint32_t) noexcept nogil) noexcept nogil:
    cdef uint32_t n = 0
    return take_list(t, name, bytes_each, USES_MAX, &n) and take_each(t, s, name, n, item)
