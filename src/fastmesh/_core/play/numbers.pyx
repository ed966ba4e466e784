"""What endpoints are made out to be, for tests of load balancers."""
from libc.stdint cimport uint32_t, uint64_t
from fastmesh._core.filter.balance cimport Balancer, Endpoint
from fastmesh._core.filter.chain cimport Table
from fastmesh._core.lb.cluster cimport cluster_t
from fastmesh._core.lb.endpoint cimport DOWN_FAILED, endpoint_live_t, endpoint_row_t, endpoint_t, endpoint_use_t
from fastmesh._core.lb.use cimport endpoint_use

ctypedef struct made_t:       # a cluster of one endpoint, which belongs to no worker
    cluster_t cluster
    endpoint_t endpoint
    endpoint_live_t live
    endpoint_use_t use
    endpoint_row_t row

NUMBERS = ("active", "requests", "failures", "connect_failures", "latency", "answers", "answer_time", "is_avoided",
           "is_unhealthy")


cdef int _set(endpoint_live_t *live, dict numbers) except -1:
    cdef endpoint_use_t *use = endpoint_use(live)
    for name, value in numbers.items():
        if name == "active":
            live.active = <uint32_t>value
        elif name == "requests":
            use.row.total = <uint64_t>value
        elif name == "failures":
            use.row.failures = <uint64_t>value
        elif name == "connect_failures":
            use.row.connect_failures = <uint64_t>value
        elif name == "latency":
            use.ewma_ns = <uint64_t>(<double>(value or 0) * 1e9)
            use.answers = 0 if value is None else max(use.answers, 1)
        elif name == "answers":
            use.answers = <uint64_t>value
        elif name == "answer_time":
            use.answers_ns = <uint64_t>(<double>value * 1e9)
        elif name == "is_avoided":
            live.avoid_until_ns = <uint64_t>-1 if value else 0
        elif name == "is_unhealthy":
            live.is_down = DOWN_FAILED if value else 0
            live.avoid_until_ns = <uint64_t>-1 if value else 0
        else:
            raise ValueError(f"an endpoint has no {name!r} that could be set: {', '.join(NUMBERS)}")
    return 0


def set_numbers(Table table, str cluster, str address, dict numbers):
    """From now on, until traffic says otherwise. Raises ValueError."""
    cdef Balancer balancer
    cdef bytes name = cluster.encode()
    cdef bytes text = address.encode()
    cdef endpoint_t *e
    cdef uint32_t i
    for each in table.balancers:
        balancer = <Balancer>each
        if balancer.cluster is NULL or balancer.cluster.name.ptr[:balancer.cluster.name.len] != name:
            continue
        for i in range(balancer.cluster.n):
            e = &balancer.cluster.endpoints[i]
            if e.text.ptr[:e.text.len] == text:
                _set(e.live, numbers)
                return
    raise ValueError(f"there is no endpoint {address!r} in a cluster {cluster!r} that is balanced")


def made_endpoint(str address, uint32_t weight, tuple said, dict numbers):
    """An endpoint that may be looked at any time. Raises ValueError."""
    cdef Balancer owner = Balancer.__new__(Balancer)
    cdef Endpoint view = Endpoint.__new__(Endpoint)
    cdef bytearray room = bytearray(sizeof(made_t))
    cdef made_t *made = <made_t *><char *>room
    owner.kept = room
    owner.cluster = &made.cluster
    owner.depth = 1
    made.cluster.endpoints = &made.endpoint
    made.cluster.n = 1
    made.endpoint.weight = weight
    made.endpoint.live = &made.live
    made.live.use = &made.use
    made.use.row = &made.row
    view.owner = owner
    view.e = &made.endpoint
    view.text = address
    view.said = said
    _set(&made.live, numbers)
    return view
