"""The address forms that endpoints are mostly written in, read without Python."""
from libc.stdint cimport uint8_t, uint32_t
from fastmesh._core.net.addr cimport addr_t

# True for an IP address and a port in the one form that config/address.py gives them. What it leaves may be right too.
cdef bint addr_plain(addr_t *a, const uint8_t *text, uint32_t n) noexcept nogil
