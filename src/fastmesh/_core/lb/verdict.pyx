"""Control's hand in the rows of mem/health: what its checks say of endpoints.

Control claims the rows of a snapshot before workers see it, so what is written there holds from their first pick on.
Rows are told by their numbers, names and addresses by their text, as in a snapshot.
"""
from libc.stdint cimport uint8_t, uint64_t
from fastmesh._core.mem.fault cimport FM_OK
from fastmesh._core.mem.hash cimport hash_bytes
from fastmesh._core.mem.health cimport (
    CHECKED_BAD, CHECKED_GOOD, CHECKED_NOT_YET, HEALTH_CLUSTERS, HEALTH_ENDPOINTS, HEALTH_SEED, cluster_health_t,
    endpoint_health_t, health_cluster, health_come_back, health_endpoint, health_map, health_t, health_unmap)
from fastmesh._core.mem.segment cimport word_add, word_get, word_set
from fastmesh._core.net.addr cimport addr_hash, addr_parse, addr_t

NOT_YET = CHECKED_NOT_YET
GOOD = CHECKED_GOOD
BAD = CHECKED_BAD


cdef class Verdicts:
    """The mapped rows. One thread."""
    cdef health_t *h

    def __cinit__(self, int fd):
        """`fd`: the memfd of observe/health."""
        self.h = health_map(fd)
        if self.h is NULL:
            raise OSError("the memory that workers share cannot be mapped")

    def __dealloc__(self):
        health_unmap(self.h)

    def __reduce__(self):
        raise TypeError("Verdicts cannot be pickled: they are memory that others share")

    cdef cluster_health_t *_cluster(self, uint64_t row) except NULL:
        if row >= HEALTH_CLUSTERS - 1:
            raise IndexError(row)
        return &self.h.clusters[row]

    cdef endpoint_health_t *_endpoint(self, uint64_t row) except NULL:
        if row >= HEALTH_ENDPOINTS - 1:
            raise IndexError(row)
        return &self.h.endpoints[row]

    def claim(self, uint64_t cluster, str name, uint64_t endpoint, str address):
        """The rows of an endpoint and of its cluster: emptied when they were another's. False when there is none, as
        there are more endpoints or clusters than rows: nothing can be said of this one."""
        cdef addr_t a
        cdef bytes text = address.encode("utf-8", "surrogatepass")
        cdef bytes named = name.encode("utf-8", "surrogatepass")
        cdef uint64_t key = hash_bytes(<const uint8_t *><char *>named, len(named), HEALTH_SEED) | 1
        if addr_parse(&a, text, len(text)) != FM_OK:
            raise ValueError(f"{address!r} is no address")
        return (health_cluster(self.h, cluster, key) is not NULL and
                health_endpoint(self.h, endpoint, addr_hash(&a, key) | 1) is not NULL)

    def say(self, uint64_t cluster, uint64_t endpoint, uint64_t checked, uint64_t now_ns):
        """What holds from now on in all workers: NOT_YET, GOOD or BAD."""
        cdef endpoint_health_t *e = self._endpoint(endpoint)
        cdef cluster_health_t *c = self._cluster(cluster)
        word_set(&e.checked_ns, now_ns)
        word_set(&e.checked, checked)
        word_add(&c.epoch, 1)

    def said(self, uint64_t endpoint):
        return word_get(&self._endpoint(endpoint).checked)

    def ejected_at(self, uint64_t endpoint):
        """When its present ejection began, by CLOCK_MONOTONIC; 0 when it is in."""
        cdef endpoint_health_t *e = self._endpoint(endpoint)
        return word_get(&e.since_ns) if word_get(&e.until_ns) != 0 else 0

    def end_ejection(self, uint64_t cluster, uint64_t endpoint, uint64_t now_ns):
        """It is in again, as after a probe that ended well."""
        cdef endpoint_health_t *e = self._endpoint(endpoint)
        if word_get(&e.until_ns) != 0:
            health_come_back(self.h, self._cluster(cluster), cluster, e, endpoint, now_ns)
