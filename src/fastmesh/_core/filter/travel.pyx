"""What of an exchange travels to a filter host: plain data, ready to be packed.

Values of header fields are str where they are ASCII, else bytes: the host decodes them as the views do, and has them
raw as well.
"""
from cpython.unicode cimport PyUnicode_DecodeLatin1
from libc.stdint cimport uint32_t
from fastmesh._core.filter.view cimport Request, Response
from fastmesh._core.filter.headers import ViewClosed
from fastmesh._core.http.edit cimport head_find
from fastmesh._core.http.msg cimport FIELD_DROP, field_t, msg_t, msg_value
from fastmesh._core.http.token cimport HEADER_X_REQUEST_ID
from fastmesh._core.io.reactor cimport reactor_clock
from fastmesh._core.resil.retry cimport RETRY_ATTEMPTS_MOST

cdef enum:
    FIELD_OURS = 2


cdef inline object _value(const unsigned char *p, Py_ssize_t n):
    cdef Py_ssize_t i
    for i in range(n):
        if p[i] >= 128:
            return (<const char *>p)[:n]
    return PyUnicode_DecodeLatin1(<const char *>p, n, NULL) if n else ""


cdef list _fields(msg_t *m, tuple needs):
    """Names and values in turn: all, or those of these names (bytes, lower case)."""
    cdef list found = []
    cdef field_t *f
    cdef int i
    if needs is None:
        for i in range(m.n_fields):
            f = &m.fields[i]
            if not f.bits & FIELD_DROP:
                found.append(PyUnicode_DecodeLatin1(<const char *>m.base + f.name_off, f.name_len, NULL))
                found.append(_value(m.base + f.value_off, f.value_len))
        return found
    for name in needs:
        i = head_find(m, <const unsigned char *><char *>(<bytes>name), <uint32_t>len(<bytes>name), 0)
        while i >= 0:
            f = &m.fields[i]
            found.append(PyUnicode_DecodeLatin1(<const char *>m.base + f.name_off, f.name_len, NULL))
            found.append(_value(m.base + f.value_off, f.value_len))
            i = head_find(m, <const unsigned char *><char *>(<bytes>name), <uint32_t>len(<bytes>name), i + 1)
    return found


def head_of(Request r not None, tuple needs):
    """The request's head, or None where there is none to look at (TCP)."""
    cdef msg_t *m
    cdef object id = None
    cdef int at
    try:
        m = r.look()
    except ViewClosed:
        return None
    at = m.at[HEADER_X_REQUEST_ID]
    # As Request.id: where it is not known yet, the host makes one and sends it as an edit.
    if at >= 0 and (r.s.down.is_trusted or r.is_sent or m.fields[at].bits & FIELD_OURS):
        id = _value(msg_value(m, at).ptr, msg_value(m, at).len)
    return (r.method, r.path, r.query, r.target, r.host, r.scheme, r.http_version, id, r.content_length, r.is_upgrade,
            _fields(m, needs), connection_fields(r))


cdef tuple connection_fields(Request r):
    c = r.connection
    return c.peer, c.port, c.listener, c.id


def is_sent(Request r not None):
    """The head is on its way: nothing of it changes any more."""
    return r.is_sent


def facts_of(Request r not None):
    """What may be another in each phase."""
    cdef dict labels = r._labels.words if r._labels is not None else None
    return (r.route, r.cluster, r.timeout, r.endpoint, r.attempts,
            (reactor_clock(r.s.proxy.reactor) - r.s.start_ns) / 1e9, labels, _rule_of(r))


cdef object _rule_of(Request r):
    """That of the request, None for a single attempt, or how many endpoints its cluster's settings give it."""
    if r.s.retry is NULL:
        return min(r.s.cluster.max_connect_attempts, RETRY_ATTEMPTS_MOST) if r.s.cluster is not NULL else None
    return r._retry._told() if r._retry is not None else None


def answer_of(Response given not None, tuple needs):
    """An answer's head, and its body where a filter or the proxy gave it."""
    cdef msg_t *m = given.look()
    return given.code, given.is_local, given.body, _fields(m, needs)
