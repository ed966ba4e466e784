# cython: language_level=3str
"""The scanners as machines without SSE2 or NEON get them: one byte at a time, by the table."""
from libc.stdint cimport uint8_t, uint32_t

cdef extern from *:
    """
    #define FM_SCALAR 1
    #include "scan.h"
    """
    const uint8_t *scan_name(const uint8_t *p, const uint8_t *end, const uint8_t *low) nogil
    const uint8_t *scan_value(const uint8_t *p, const uint8_t *end, const uint8_t *low) nogil
    const uint8_t *scan_target(const uint8_t *p, const uint8_t *end, const uint8_t *low) nogil
    const uint8_t *scan_path(const uint8_t *p, const uint8_t *end, const uint8_t *low) nogil
    const uint8_t *scan_plain_path(const uint8_t *p, const uint8_t *end) nogil


def scan(str what, bytes source, uint32_t start=0):
    """As http_probe.scan."""
    cdef const uint8_t *p = source
    cdef const uint8_t *end = p + len(source)
    cdef const uint8_t *q = p + start
    if what == "name":
        q = scan_name(q, end, p)
    elif what == "value":
        q = scan_value(q, end, p)
    elif what == "target":
        q = scan_target(q, end, p)
    elif what == "path":
        q = scan_path(q, end, p)
    elif what == "plain_path":
        q = scan_plain_path(q, end)
    else:
        raise ValueError(what)
    return q - p
