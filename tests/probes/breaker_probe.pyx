"""Seats, what is counted in them, and pressures, for tests."""
from libc.stdint cimport uint32_t, uint64_t
from fastmesh._core.mem.health cimport health_map, health_t, health_unmap
from fastmesh._core.mem.tally cimport (
    TALLY_SEATS, seat_leave, seat_rank, seat_take, tally_endpoint_others, tally_others)
from fastmesh._core.resil.adaptive cimport ADAPTIVE_SHOWN, ADAPTIVE_SHOWN_BASE
from fastmesh._core.resil.admission cimport ADMISSION_SHOWN
from fastmesh._core.resil.pressure cimport (
    PRIORITY_DEFAULT, PRIORITY_HIGH, PRIORITY_LOW, pressure_refuses, pressure_t, pressure_take)

SEATS = TALLY_SEATS
PRIORITIES = {"low": PRIORITY_LOW, "default": PRIORITY_DEFAULT, "high": PRIORITY_HIGH}


cdef class Seats:
    """Of one proxy, in memory of its own or in a file."""

    cdef health_t *h

    def __cinit__(self, int fd=-1):
        self.h = health_map(fd)
        if self.h is NULL:
            raise MemoryError("no memory to share")

    def __dealloc__(self):
        health_unmap(self.h)

    def take(self, uint64_t pid):
        return seat_take(&self.h.seats, pid)

    def leave(self, int seat):
        seat_leave(&self.h.seats, seat)

    def rank(self, int seat):
        """(how many seats are taken, how many of them come before)."""
        cdef uint32_t rank = 0
        n = seat_rank(&self.h.seats, seat, &rank)
        return n, rank

    def use(self, int seat, uint32_t row, list used):
        for i in range(4):
            self.h.seats.seats[seat].clusters[row].used[i] = used[i]

    def learn(self, int seat, uint32_t row, list found):
        self.h.seats.seats[seat].clusters[row].reserved[ADAPTIVE_SHOWN] = found[0]
        self.h.seats.seats[seat].clusters[row].reserved[ADAPTIVE_SHOWN_BASE] = found[1]
        self.h.seats.seats[seat].clusters[row].reserved[ADMISSION_SHOWN] = found[2]

    def use_endpoint(self, int seat, uint32_t row, uint32_t requests):
        self.h.seats.seats[seat].endpoints[row].requests = requests

    def others(self, int seat, uint32_t row):
        cdef uint32_t used[4]
        tally_others(&self.h.seats, seat, row, used)
        return [used[i] for i in range(4)]

    def endpoint_others(self, int seat, uint32_t row):
        return tally_endpoint_others(&self.h.seats, seat, row)


cdef class Pressure:
    cdef pressure_t p

    def take(self, dict parts, uint64_t now_ns):
        """Samples by their names, those left out are 0. True when the level is another one now."""
        cdef double at[4]
        for i, name in enumerate(("memory", "descriptors", "lag", "connections")):
            at[i] = parts.get(name, 0.0)
        return bool(pressure_take(&self.p, at, now_ns))

    @property
    def level(self):
        return self.p.level

    @property
    def reason(self):
        return self.p.reason

    def refuses(self, str priority):
        return bool(pressure_refuses(&self.p, PRIORITIES[priority]))
