"""Doors for tests onto socket addresses."""
from libc.stdint cimport uint8_t, uint32_t
from libc.string cimport memcpy, memset
from fastmesh._core.mem.arena cimport heap_array, heap_free
from fastmesh._core.net.addr cimport (
    ADDR_TEXT, addr_compare, addr_eq, addr_from_sockaddr, addr_hash, addr_in_cidr, addr_parse,
    addr_parse_ip, addr_print, addr_print_ip, addr_t, addr_to_sockaddr)


cdef class Addr:
    cdef addr_t a

    @staticmethod
    def parse(bytes text):
        """None when the text is refused."""
        cdef Addr addr = Addr()
        cdef uint32_t n = len(text)
        cdef const char *p = text
        cdef char *room = <char *>heap_array(n, 1)
        memcpy(room, p, n)
        code = addr_parse(&addr.a, room, n)
        heap_free(room)
        return addr if code == 0 else None

    @staticmethod
    def parse_ip(bytes text):
        """None when the text is refused."""
        cdef Addr addr = Addr()
        cdef uint32_t n = len(text)
        cdef const char *p = text
        cdef uint8_t *room = <uint8_t *>heap_array(n, 1)
        memcpy(room, p, n)
        code = addr_parse_ip(&addr.a, room, n)
        heap_free(room)
        return addr if code == 0 else None

    @staticmethod
    def from_sockaddr(bytes raw, claimed=None):
        """None when refused; `claimed` bytes, if the kernel said another length than it wrote."""
        cdef Addr addr = Addr()
        cdef uint8_t storage[128]
        cdef const char *p = raw
        memset(storage, 0x41, 128)
        memcpy(storage, p, len(raw))
        return addr if addr_from_sockaddr(&addr.a, storage, len(raw) if claimed is None else claimed) == 0 else None

    def to_sockaddr(self):
        cdef uint8_t storage[128]
        memset(storage, 0x41, 128)
        n = addr_to_sockaddr(&self.a, storage)
        return (<char *>storage)[:n]

    def text(self):
        cdef char *room = <char *>heap_array(ADDR_TEXT, 1)
        n = addr_print(&self.a, room)
        result = room[:n]
        heap_free(room)
        return result

    def ip_text(self):
        cdef char *room = <char *>heap_array(ADDR_TEXT, 1)
        n = addr_print_ip(&self.a, room)
        result = room[:n]
        heap_free(room)
        return result

    def in_cidr(self, int family, int bits, bytes ip):
        cdef const char *p = ip
        return addr_in_cidr(&self.a, family, bits, <const uint8_t *>p)

    def hash(self, seed=0):
        return addr_hash(&self.a, seed)

    def compare(self, Addr other):
        return addr_compare(&self.a, &other.a)

    def equals(self, Addr other):
        return bool(addr_eq(&self.a, &other.a))

    @property
    def family(self):
        return self.a.family

    @property
    def port(self):
        return self.a.port

    @property
    def bytes(self):
        return (<char *>self.a.ip)[:self.a.len]
