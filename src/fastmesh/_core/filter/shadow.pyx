"""See shadow.pxd."""
from libc.stdint cimport uint32_t
from fastmesh._core.filter.chain cimport Slot
from fastmesh._core.http.edit cimport head_copy, head_free
from fastmesh._core.http.msg cimport MSG_EDITED, MSG_LINE
from fastmesh._core.io.reactor cimport reactor_clock
from fastmesh._core.mem.counter cimport PHASE_UPSTREAM_ERROR


cdef class Shadow:

    cdef int put_aside(self, Request r) except -1:
        r.touch()
        self.h, self.m = r.h, r.m
        if r.h is not NULL:
            r.h = head_copy(r.m)
            r.m = &r.h.m
            r.m.bits &= ~<uint32_t>(MSG_EDITED | MSG_LINE)
        self.cluster, self.timeout_ns = r.s.cluster, r.s.timeout_ns
        self.timeout_by = r.s.timeout_by
        self.retry, self.rule = r.s.retry, r._retry
        self.subset, self.asked = r.s.subset, r._subset
        self.state, self.labels = r._state, r._labels
        r._state = dict(r._state) if r._state is not None else None
        r._labels = None
        self.response = r.response
        if r.response is not None:
            r.response.touch()
            self.rh, self.rm, self.code = r.response.h, r.response.m, r.response.code
            r.response.h = head_copy(r.response.m)
            r.response.m = &r.response.h.m
            r.response.m.bits &= ~<uint32_t>(MSG_EDITED | MSG_LINE)
        return 0

    cdef void give_back(self, Request r, object result, BaseException error) noexcept:
        cdef list would = []
        if r.h is not NULL:
            # Without one before, it is what somebody has looked at.
            if self.h is not NULL and r.h.m.bits & (MSG_EDITED | MSG_LINE):
                would.append("change the request's head")
            head_free(r.h)
        r.h, r.m = self.h, self.m
        if r.s is not NULL:
            if r.s.cluster is not self.cluster or r.s.timeout_ns != self.timeout_ns:
                would.append("route it in another way")
            r.s.cluster = self.cluster
            r.s.timeout_ns = self.timeout_ns
            r.s.timeout_by = self.timeout_by
            if r.s.retry is not self.retry:
                would.append("try it again by another rule")
            r.s.retry = self.retry
            if r.s.subset is not self.subset:
                would.append("send it to another subset")
            r.s.subset = self.subset
            r.s.labels = NULL
            r.s.labels_len = 0
            if self.labels is not None:
                r.s.labels = self.labels.packed
                r.s.labels_len = self.labels.size
        r._state, r._labels = self.state, self.labels
        r._retry = self.rule
        r._subset = self.asked
        if self.response is not None:
            if self.response.h is not NULL:
                if self.response.h.m.bits & (MSG_EDITED | MSG_LINE):
                    would.append("change the answer's head")
                head_free(self.response.h)
            self.response.h, self.response.m, self.response.code = self.rh, self.rm, self.code
        if error is not None:
            (<Slot>self.c.owner).failed(self.phase, error, reactor_clock(r.s.proxy.reactor))
            return
        if isinstance(result, Response):
            would.append(f"answer {(<Response>result).code}")
        elif self.phase == PHASE_UPSTREAM_ERROR and result is not None:
            would.append("try again" if result else "not try again")
        if would:
            (<Slot>self.c.owner).shadowed(self.phase, would)
