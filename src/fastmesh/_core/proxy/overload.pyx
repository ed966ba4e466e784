"""See overload.pxd."""
from libc.stdint cimport uint8_t, uint64_t
from fastmesh._core.http.edit cimport head_find
from fastmesh._core.http.msg cimport msg_value
from fastmesh._core.io.reactor cimport io_listen
from fastmesh._core.mem.counter cimport FLAG_OM
from fastmesh._core.mem.span cimport span_eq, span_of, span_t
from fastmesh._core.proxy.down cimport down_evict
from fastmesh._core.proxy.largest cimport largest_reset
from fastmesh._core.proxy.local cimport local_turn_away
from fastmesh._core.proxy.mux cimport door_t
from fastmesh._core.resil.pressure cimport (
    LEVEL_CALM, LEVEL_FULL, PRESSURE_CONNECTIONS, PRESSURE_COUNT, PRESSURE_DESCRIPTORS, PRESSURE_MEMORY,
    PRIORITY_HIGH, pressure_settings_t, pressure_take)

cdef extern from *:
    """
    #include <fcntl.h>
    #include <malloc.h>
    #include <stdint.h>
    #include <stdio.h>
    #include <sys/resource.h>
    #include <unistd.h>
    /* Resident bytes of this process that no file or other process has, too; 0 = not known. */
    static uint64_t fm_own_bytes(void) {
        char text[128];
        unsigned long size, resident, shared;
        int fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
        ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
        if (fd >= 0)
            close(fd);
        if (n <= 0)
            return 0;
        text[n] = 0;
        if (sscanf(text, "%lu %lu %lu", &size, &resident, &shared) != 3 || shared > resident)
            return 0;
        return (uint64_t)(resident - shared) * (uint64_t)sysconf(_SC_PAGESIZE);
    }
    static uint64_t fm_open_files_most(void) {
        struct rlimit r;
        return getrlimit(RLIMIT_NOFILE, &r) != 0 || r.rlim_cur == RLIM_INFINITY ? 0 : (uint64_t)r.rlim_cur;
    }
    static void fm_give_back(void) {
    #ifdef __GLIBC__
        malloc_trim(0);
    #endif
    }
    """
    uint64_t own_bytes "fm_own_bytes"() noexcept nogil
    uint64_t open_files_most "fm_open_files_most"() noexcept nogil
    void give_back "fm_give_back"() noexcept nogil

cdef enum:
    LOOK_NS = 100000000
    TRIM_NS = 2000000000          # between two times that free memory is given back to the kernel
    EVICT_BATCH = 64              # idle connections closed at a look
    FEW = 256                     # of so few connections it says nothing that most are in use
    MILLION = 1000000

# What an idle worker shows at most: one that has no request has nothing to refuse, whatever its memory is full of.
cdef double AT_REST = 0.84

# What connections show at most: they are bounded by their number, and whoever is let in may use the one he has.
cdef double CROWDED = 0.94

# Of the memory: so far below the threshold a reset is to bring it, which is clearly below `full`.
cdef double RELIEF = 0.08

cdef uint64_t trimmed_ns = 0


cdef void _samples(proxy_t *p, double *at) noexcept nogil:
    cdef const pressure_settings_t *s = &p.snap.pressure
    cdef uint64_t files = open_files_most()
    at[PRESSURE_MEMORY] = 0.0
    at[PRESSURE_DESCRIPTORS] = 0.0
    at[PRESSURE_LAG] = 0.0
    at[PRESSURE_CONNECTIONS] = 0.0
    if s.memory != 0:
        at[PRESSURE_MEMORY] = <double>own_bytes() / <double>s.memory
        if p.streams.live == 0 and at[PRESSURE_MEMORY] > AT_REST:
            at[PRESSURE_MEMORY] = AT_REST
    if files > FEW:
        at[PRESSURE_DESCRIPTORS] = <double>p.reactor.n_open / <double>files
    if s.lag_ns != 0:
        at[PRESSURE_LAG] = <double>p.pressure.lag_ns / <double>s.lag_ns
    # Those at rest make room for newcomers: only busy ones count.
    if p.max_downs >= FEW:
        at[PRESSURE_CONNECTIONS] = <double>p.streams.live / <double>p.max_downs
        if at[PRESSURE_CONNECTIONS] > CROWDED:
            at[PRESSURE_CONNECTIONS] = CROWDED


cdef void _rest(proxy_t *p, bint on) noexcept nogil:
    """Shuts the doors, or opens them again. Who comes meanwhile stands in the kernel's queue."""
    cdef door_t *k = p.doors
    if not on and not p.pressure.is_resting:
        return
    p.pressure.is_resting = on
    while k is not NULL:
        if k.is_on and not k.is_leaving:
            io_listen(&k.io, not on)
        k = k.next


cdef inline void _relieve(proxy_t *p, double memory) noexcept nogil:
    """Resets those that hold most, when refusing others is not enough. `memory`: the part of it that is in use."""
    cdef const pressure_settings_t *s = &p.snap.pressure
    if s.memory == 0 or s.reset_at == 0.0 or memory < s.reset_at:
        return
    if largest_reset(p, <uint64_t>((memory - s.reset_at + RELIEF) * <double>s.memory)) != 0:
        p.pressure.has_reset = 1


cdef void overload_look(proxy_t *p) noexcept nogil:
    global trimmed_ns
    cdef double samples[4]
    cdef uint64_t now = p.reactor.now_ns
    cdef int i
    p.pressure.look_ns = now + LOOK_NS
    if p.pressure.has_reset:
        # What was in queues is free by now. Unless it leaves the process, more is reset than has to be.
        p.pressure.has_reset = 0
        trimmed_ns = now
        give_back()
    _samples(p, samples)
    _relieve(p, samples[PRESSURE_MEMORY])
    p.pressure.lag_ns = 0
    pressure_take(&p.pressure, samples, now)
    for i in range(PRESSURE_COUNT):
        p.stats.header.pressures[i] = <uint64_t>(p.pressure.at[i] * MILLION)
    p.stats.header.level_reason = p.pressure.reason
    p.stats.header.level = p.pressure.level
    if p.pressure.level == LEVEL_CALM:
        _rest(p, False)
        return
    if overload_ends_connections(p):
        i = 0
        while i < EVICT_BATCH and down_evict(p, NULL):
            i += 1
        if p.pressure.reason == PRESSURE_MEMORY and now - trimmed_ns > TRIM_NS:
            trimmed_ns = now
            give_back()
    _rest(p, p.pressure.level == LEVEL_FULL and not p.is_draining)


cdef void overload_rank(stream_t *s, const msg_t *m) noexcept nogil:
    cdef const span_t *header = &s.snap.pressure.header
    cdef span_t said
    cdef int at
    s.priority = s.route.priority
    if header.len == 0 or not s.down.is_trusted:
        return
    at = head_find(m, header.ptr, header.len, 0)
    if at < 0:
        return
    said = msg_value(m, at)
    if span_eq(said, span_of(b"low", 3)):
        s.priority = PRIORITY_LOW
    elif span_eq(said, span_of(b"default", 7)):
        s.priority = PRIORITY_DEFAULT
    elif span_eq(said, span_of(b"high", 4)):
        s.priority = PRIORITY_HIGH


cdef bint overload_admits(stream_t *s, msg_t *m) noexcept nogil:
    cdef proxy_t *p = s.proxy
    if not overload_refuses(s):
        return True
    p.stats.header.shed[p.pressure.reason * 4 + s.priority] += 1
    # What goes nowhere is not encoded, unless the log wants to tell of it.
    if s.snap.n_log_ops != 0:
        s.up_ops.prepare(s, m, span_of(NULL, 0))
    local_turn_away(s, FLAG_OM, _details(p.pressure.reason),
                     span_of(<const uint8_t *>s.snap.pressure.fields, s.snap.pressure.fields_len),
                     b"this proxy is near the end of what it may use of the machine")
    return False


cdef const char *_details(int reason) noexcept nogil:
    if reason == PRESSURE_MEMORY:
        return b"overload{memory}"
    if reason == PRESSURE_DESCRIPTORS:
        return b"overload{descriptors}"
    if reason == PRESSURE_LAG:
        return b"overload{lag}"
    return b"overload{connections}"
