"""See pressure.pxd."""
from libc.stdint cimport uint64_t

cdef enum:
    CALM_NS = 2000000000          # how long it must be below a level before that is left

cdef double[5] ENTER = [0.0, 0.85, 0.90, 0.95, 0.98]
cdef double MARGIN = 0.05         # a level is left below where it was entered, or it would be entered again at once
cdef double SMOOTH = 0.2          # of a new sample of the lag: one long turn is none of many


cdef bint pressure_take(pressure_t *p, const double *samples, uint64_t now_ns) noexcept nogil:
    cdef double highest = 0.0
    cdef double sample
    cdef int level = LEVEL_CALM
    cdef int was = p.level
    cdef int i
    for i in range(PRESSURE_COUNT):
        sample = samples[i] if samples[i] < 1.0 else 1.0
        if i == PRESSURE_LAG:
            sample = p.at[i] + SMOOTH * (sample - p.at[i])
        p.at[i] = sample
        if sample > highest:
            highest = sample
            p.reason = <unsigned char>i
    while level < LEVEL_FULL and highest >= ENTER[level + 1]:
        level += 1
    if level > was:
        p.level = <unsigned char>level
        p.below_ns = 0
        return True
    if was == LEVEL_CALM or highest >= ENTER[was] - MARGIN:
        p.below_ns = 0
        return False
    if p.below_ns == 0:
        p.below_ns = now_ns
        return False
    if now_ns - p.below_ns < CALM_NS:
        return False
    p.level = <unsigned char>(was - 1)
    p.below_ns = now_ns
    return True


# In the order of PRESSURE_*, PRIORITY_* and LEVEL_*.
PRESSURES = ("memory", "descriptors", "lag", "connections")
PRIORITIES = ("default", "low", "high")
LEVELS = ("calm", "busy", "shed_low", "shed", "full")
ENTER_AT = tuple(ENTER[i] for i in range(LEVEL_COUNT))
