"""Socket addresses as values: IPv4, IPv6 and Unix-domain paths."""
from libc.stdint cimport uint8_t, uint16_t, uint32_t

cdef enum:
    ADDR_TEXT = 120       # room for the longest printed form, without NUL

ctypedef struct addr_t:
    uint16_t family       # AF_INET, AF_INET6, AF_UNIX; 0 = none
    uint16_t port         # host order; 0 for AF_UNIX
    uint32_t len          # of `ip` in use: 4, 16, or the path's length
    uint8_t ip[108]       # network order, or the Unix path (not terminated)
