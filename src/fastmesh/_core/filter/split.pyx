"""See split.pxd."""
from libc.math cimport INFINITY, log
from libc.string cimport memcmp
from fastmesh._core.mem.hash cimport hash_bytes, hash_mix
from fastmesh._core.mem.rng cimport rng_next

cdef enum:
    KNOWN_MOST = 256          # splits that are kept; beyond it, all are forgotten
    NAMED_MOST = 10           # clusters that a message names

cdef double UNIT = 2.0 ** -53
# Items of a mapping -> its Split: what was checked once, and resolved, is not again for each request.
cdef dict known = {}


cdef class Split:

    def __init__(self, dict weights):
        cdef list names = []
        cdef bytes name
        cdef double total = 0
        cdef double weight
        cdef uint32_t i
        if not weights:
            raise ValueError("a split of nothing: name at least one cluster, with a weight above 0")
        if len(weights) > SPLIT_MOST:
            raise ValueError(f"a split over {len(weights)} clusters: at most {SPLIT_MOST} are allowed")
        for i, (text, given) in enumerate(weights.items()):
            if not isinstance(text, str):
                raise TypeError(f"{text!r} is no name of a cluster: a str is allowed")
            weight = _weight(text, given)
            name = text.encode()
            names.append(name)
            self.shares[i] = weight
            self.seeds[i] = hash_bytes(name, <uint32_t>len(name), 0)
            total += weight
            if weight > self.shares[self.heaviest]:
                self.heaviest = i
        if not 0 < total < INFINITY:
            raise ValueError("all weights of the split are 0: at least one is above 0" if total == 0 else
                             "the weights of the split are too large to be added up")
        self.n = <uint32_t>len(names)
        self.names = tuple(names)
        for i in range(self.n):
            self.shares[i] /= total

    cdef uint32_t by_key(self, const unsigned char *key, uint32_t n) noexcept:
        cdef uint64_t hash = hash_bytes(key, n, 0)
        cdef double first = INFINITY
        cdef double comes, u
        cdef uint32_t found = self.heaviest
        cdef uint32_t i
        for i in range(self.n):
            if self.shares[i] == 0:
                continue
            # Evenly in (0, 1): neither end, of which there is no logarithm that helps.
            u = (<double>(hash_mix(hash_mix(hash, self.seeds[i]), self.seeds[i]) >> 11) + 0.5) * UNIT
            comes = -log(u) / self.shares[i]
            if comes < first:
                first = comes
                found = i
        return found

    cdef uint32_t drawn(self, uint64_t *rng) noexcept:
        cdef double x = <double>(rng_next(rng) >> 11) * UNIT
        cdef uint32_t i
        for i in range(self.n):
            x -= self.shares[i]
            if x < 0:
                return i
        return self.heaviest

    cdef int settle(self, const snapshot_t *snap) except -1:
        cdef bytes name
        cdef uint32_t i
        for i in range(self.n):
            name = self.names[i]
            if not _stands_at(snap, self.places[i], name):
                self.places[i] = cluster_place(snap, name)
        return 0


cdef double _weight(str name, given) except -1:
    cdef double weight = -1
    if isinstance(given, (int, float)):
        try:
            weight = given
        except OverflowError:
            pass
    if not 0 <= weight < INFINITY:
        raise ValueError(f"the weight of {name!r} is {given!r}: a number from 0 up is allowed, and 0 gives it nothing")
    return weight


cdef inline bint _stands_at(const snapshot_t *snap, uint32_t place, bytes name) noexcept:
    return (place < snap.n_clusters and snap.clusters[place].name.len == <uint32_t>len(name) and
            memcmp(snap.clusters[place].name.ptr, <const char *>name, len(name)) == 0)


cdef uint32_t cluster_place(const snapshot_t *snap, bytes name) except? 0xFFFFFFFF:
    cdef uint32_t i
    for i in range(snap.n_clusters):
        if _stands_at(snap, i, name):
            return i
    there = ", ".join([snap.clusters[i].name.ptr[:snap.clusters[i].name.len].decode()
                       for i in range(min(snap.n_clusters, NAMED_MOST))])
    more = f", and {snap.n_clusters - NAMED_MOST} more" if snap.n_clusters > NAMED_MOST else ""
    raise ValueError(f"there is no cluster {name.decode()!r} in the configuration; there are {there}{more}")


cdef Split _split_of(weights):
    cdef Split made
    cdef object key
    try:
        key = tuple(weights.items())
        made = known.get(key)
    except AttributeError:
        raise TypeError(f"a split by {type(weights).__name__}: a mapping of clusters to weights is allowed, as "
                        "{'app': 95, 'app-next': 5}") from None
    except TypeError:       # a weight that has no hash, which is no number either
        return Split(dict(weights))
    if made is None:
        made = Split(dict(weights))
        if len(known) >= KNOWN_MOST:
            known.clear()
        known[key] = made
    return made


cdef bytes _key_of(by):
    if isinstance(by, str):
        return (<str>by).encode("utf-8", "surrogatepass")
    if isinstance(by, bytes):
        return by
    raise TypeError(f"by={by!r}: a str, bytes, or None for a choice by chance is allowed")


cdef cluster_t *split_choose(stream_t *s, object weights, object by) except NULL:
    cdef Split split = _split_of(weights)
    cdef bytes key
    cdef uint32_t i
    split.settle(s.snap)
    if by is None:
        i = split.drawn(&s.proxy.rng)
    else:
        key = _key_of(by)
        i = split.by_key(key, <uint32_t>len(key))
    return &s.snap.clusters[split.places[i]]


def choose(weights, by):
    """The cluster that has the key `by`, as any worker would choose it."""
    cdef Split split = _split_of(weights)
    cdef bytes key = _key_of(by)
    return split.names[split.by_key(key, <uint32_t>len(key))].decode()
