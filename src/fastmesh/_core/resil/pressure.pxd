"""How near this process is to the end of what it may use, and what it does about that.

A pure function of samples and the time: nothing here looks at the process. Each pressure is the part of a limit that
is used, 0 to 1; the highest counts. A level is entered at once, and left when the pressure has been clearly below it
for a while: one at a time.
"""
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from fastmesh._core.mem.span cimport span_t

cdef enum:
    # of requests
    PRIORITY_DEFAULT = 0
    PRIORITY_LOW = 1
    PRIORITY_HIGH = 2
    PRIORITY_COUNT = 3

    # what is looked at; the names are in pressure.pyx
    PRESSURE_MEMORY = 0
    PRESSURE_DESCRIPTORS = 1
    PRESSURE_LAG = 2
    PRESSURE_CONNECTIONS = 3
    PRESSURE_COUNT = 4

    LEVEL_CALM = 0
    LEVEL_BUSY = 1                # connections end after their answer, idle ones are closed soon
    LEVEL_SHED_LOW = 2            # requests of low priority are refused
    LEVEL_SHED = 3                # and those of the default one
    LEVEL_FULL = 4                # and no connection is accepted
    LEVEL_COUNT = 5

# Part of a snapshot.
ctypedef struct pressure_settings_t:
    uint8_t is_on
    uint64_t memory               # bytes this process may have; 0 = not looked at
    uint64_t lag_ns               # how late the loop may be; 0 = not looked at
    char fields[64]               # header lines of a refusal, each with its line break
    uint32_t fields_len
    span_t header                 # field in which trusted clients tell a priority, lower case; empty = none
    double reset_at               # from this part of the memory on the largest exchanges are reset; 0 = never

ctypedef struct pressure_t:
    uint64_t look_ns              # when it is to be looked at again
    uint64_t below_ns             # since when the pressure is clearly below the level; 0 = it is not
    uint64_t lag_ns               # the latest that the loop has been since it was looked at
    double at[4]                  # by PRESSURE_*
    uint8_t level
    uint8_t reason                # PRESSURE_* of the highest one
    uint8_t is_resting            # doors are shut
    uint8_t has_reset             # exchanges were reset at the last look: what they had is free now

# Takes samples (parts of limits; that of the lag is smoothed here). True when the level is another one now.
cdef bint pressure_take(pressure_t *p, const double *samples, uint64_t now_ns) noexcept nogil


cdef inline bint pressure_refuses(const pressure_t *p, int priority) noexcept nogil:
    if p.level < LEVEL_SHED_LOW or priority == PRIORITY_HIGH:
        return False
    return priority == PRIORITY_LOW or p.level >= LEVEL_SHED
