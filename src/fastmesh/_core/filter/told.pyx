"""See told.pxd."""
from libc.stdint cimport uint8_t
from fastmesh._core.filter.chain cimport Slot
from fastmesh._core.filter.view cimport STEERED_CLUSTER, STEERED_RETRY, STEERED_SUBSET, STEERED_TIMEOUT
from fastmesh._core.proxy.mux cimport STEP_ASKED, STEP_STEERED


cdef str _subset(Request r):
    found = r.subset
    return "all endpoints" if found is None else ", ".join([f"{name}={value}" for name, value in found.items()])


cdef void told_steered(Request r, slot_t *c) noexcept:
    cdef uint8_t what = r.steered
    cdef list said = []
    cdef bytes text
    r.steered = 0
    if c.is_shadow or r.s.account is NULL:
        return
    r.depth += 1
    try:
        if what & STEERED_CLUSTER:
            said.append(f"cluster {r.cluster}")
        if what & STEERED_SUBSET:
            said.append(f"subset {_subset(r)}")
        if what & STEERED_TIMEOUT:
            said.append("no timeout" if r.timeout is None else f"timeout {r.timeout:g} s")
        if what & STEERED_RETRY:
            said.append("no further attempt" if r.retry is None else f"{r.retry.attempts} attempts")
        text = f"{(<Slot>c.owner).name}: {', '.join(said)}".encode("utf-8", "replace")
        r.s.proxy.watch_ops.beside(r.s, STEP_STEERED, NULL, 0, <const char *>text)
    except Exception:       # of memory
        pass
    finally:
        r.depth -= 1


cdef void told_asked(Request r) noexcept:
    cdef bytes text
    if r.s.account is NULL or r.entered == 0:
        return
    try:
        text = ", ".join([(<Slot>r.slot(i).owner).name for i in range(r.n_stages)
                          if r.entered >> i & 1]).encode("utf-8", "replace")
        r.s.proxy.watch_ops.beside(r.s, STEP_ASKED, NULL, 0, <const char *>text)
    except Exception:       # of memory
        pass
