"""A set of endpoints as a policy yields it, packed for control, when nothing in it must be looked at closely.

These are IP addresses in the form that fastmesh prints them in, alone, with a weight, or both in a dict. What one is
follows from its text alone, so nothing is kept of one set for the next.
"""
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memcmp
from fastmesh._core.mem.arena cimport heap_array, heap_free
from fastmesh._core.mem.hash cimport hash_bytes, hash_mix
from fastmesh._core.mem.pack cimport put_array, put_bytes, put_uint
from fastmesh._core.mem.span cimport span_t
from fastmesh._core.net.addr cimport addr_t
from fastmesh._core.net.addr_text cimport addr_plain
import os

cdef extern from "Python.h":
    const char *PyUnicode_AsUTF8AndSize(object text, Py_ssize_t *size) except NULL
    bint PyUnicode_IS_COMPACT_ASCII(object text)

cdef enum:
    TEXT_MOST = 64            # bytes of an address
    ONE_MOST = 80             # of what is packed of one
    HEAD_MOST = 8

cdef object WEIGHT_MOST = 0x80000000    # config/cluster.MAX_WEIGHT; a number of any size may be compared with it
cdef uint64_t seed = int.from_bytes(os.urandom(8), "little")

# What is packed so far: where each text lies, found by the text.
ctypedef struct plain_t:
    span_t *texts
    uint32_t *table           # place + 1 in `texts`; 0 = free
    uint32_t mask
    uint64_t mark


cdef bint is_first(plain_t *t, uint32_t place, uint64_t weight) noexcept nogil:
    """No other has the text of this one, which is noted."""
    cdef span_t text = t.texts[place]
    cdef span_t other
    cdef uint64_t hash = hash_bytes(text.ptr, text.len, seed)
    cdef uint32_t at = <uint32_t>hash & t.mask
    while t.table[at] != 0:
        other = t.texts[t.table[at] - 1]
        if other.len == text.len and memcmp(other.ptr, text.ptr, text.len) == 0:
            return False
        at = (at + 1) & t.mask
    t.table[at] = place + 1
    t.mark += hash_mix(hash, weight)
    return True


cdef uint8_t *pack_one(plain_t *t, uint32_t place, object item, uint8_t *p) except? NULL:
    """NULL when it is not plain."""
    cdef object address = item
    cdef object given = None
    cdef object there
    cdef uint64_t weight = 1
    cdef Py_ssize_t n = 0
    cdef span_t text
    cdef addr_t a
    if type(item) is tuple or type(item) is list:
        if len(item) != 2:
            return NULL
        address, given = item
        if given is None:
            return NULL
    elif type(item) is dict:
        address = (<dict>item).get("address")
        there = (<dict>item).get("weight")
        given = there
        if len(item) != (1 if there is None else 2):
            return NULL
    # Types are compared exactly: what is a class of its own may say anything of itself.
    if type(address) is not str or not PyUnicode_IS_COMPACT_ASCII(address):
        return NULL
    if given is not None:
        if type(given) is not int or not 1 <= given <= WEIGHT_MOST:
            return NULL
        weight = given
    text.ptr = <const uint8_t *>PyUnicode_AsUTF8AndSize(address, &n)
    if n > TEXT_MOST or not addr_plain(&a, text.ptr, <uint32_t>n):
        return NULL
    text.len = <uint32_t>n
    p = put_array(p, 2)
    p = put_bytes(p, text, True)
    # The caller's text may go before the set is complete.
    text.ptr = p - n
    t.texts[place] = text
    return put_uint(p, weight) if is_first(t, place, weight) else NULL


def pack_plain(tuple items):
    """What `endpoint_set.pack_set` packs, in this order, and a number that all sets of the same endpoints have, in
    whatever order. None when one is not plain, or is there twice."""
    cdef plain_t t
    cdef uint32_t n = <uint32_t>len(items)
    cdef uint32_t size = 16
    cdef uint32_t i
    cdef bytes room = PyBytes_FromStringAndSize(NULL, HEAD_MOST + <Py_ssize_t>n * ONE_MOST)
    cdef uint8_t *begin = <uint8_t *>PyBytes_AS_STRING(room)
    cdef uint8_t *p = put_array(begin, n)
    while size < 2 * n:
        size *= 2
    t.mask = size - 1
    t.mark = 0
    t.texts = <span_t *>heap_array(n, sizeof(span_t))
    t.table = <uint32_t *>heap_array(size, sizeof(uint32_t))
    try:
        for i in range(n):
            p = pack_one(&t, i, items[i], p)
            if p is NULL:
                return None
        return PyBytes_FromStringAndSize(<const char *>begin, p - begin), t.mark
    finally:
        heap_free(t.texts)
        heap_free(t.table)
