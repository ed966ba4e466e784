"""See wall.pxd."""
from libc.stdint cimport int64_t, uint32_t
from libc.string cimport memcpy
from fastmesh._core.sys.clock_sys cimport clock_monotonic_ns, clock_realtime_ns

cdef extern from *:
    """
    static const char fm_days[] = "ThuFriSatSunMonTueWed";
    static const char fm_months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    """
    const char fm_days[]
    const char fm_months[]


cdef void _civil(uint64_t seconds, int *year, int *month, int *day) noexcept nogil:
    # Howard Hinnant's civil_from_days: exact for every day after 1970, no table.
    cdef int64_t z = <int64_t>(seconds // 86400) + 719468
    cdef int64_t era = z // 146097
    cdef uint32_t doe = <uint32_t>(z - era * 146097)
    cdef uint32_t yoe = (doe - doe // 1460 + doe // 36524 - doe // 146096) // 365
    cdef uint32_t doy = doe - (365 * yoe + yoe // 4 - yoe // 100)
    cdef uint32_t mp = (5 * doy + 2) // 153
    day[0] = <int>(doy - (153 * mp + 2) // 5 + 1)
    month[0] = <int>(mp + 3 if mp < 10 else mp - 9)
    year[0] = <int>(<int64_t>yoe + era * 400) + (1 if month[0] <= 2 else 0)


cdef inline void _two(char *to, int v) noexcept nogil:
    to[0] = <char>(48 + v // 10)
    to[1] = <char>(48 + v % 10)


cdef inline void _clock(char *to, uint64_t seconds) noexcept nogil:
    cdef int of_day = <int>(seconds % 86400)
    _two(to, of_day // 3600)
    to[2] = 58
    _two(to + 3, of_day // 60 % 60)
    to[5] = 58
    _two(to + 6, of_day % 60)


cdef const char *proxy_date(proxy_t *p) noexcept nogil:
    cdef uint64_t now = p.reactor.now_ns // 1000000000
    cdef uint64_t s
    cdef int year = 0
    cdef int month = 0
    cdef int day = 0
    if p.date_s == now:
        return p.date
    p.date_s = now
    s = clock_realtime_ns() // 1000000000
    _civil(s, &year, &month, &day)
    memcpy(p.date, b"date: Mon, 01 Jan 2026 00:00:00 GMT\r\n", 37)
    memcpy(p.date + 6, fm_days + 3 * (s // 86400 % 7), 3)
    _two(p.date + 11, day)
    memcpy(p.date + 14, fm_months + 3 * (month - 1), 3)
    _two(p.date + 18, year // 100)
    _two(p.date + 20, year % 100)
    _clock(p.date + 23, s)
    return p.date


cdef int proxy_stamp(proxy_t *p, uint64_t at_ns, uint8_t *to) noexcept nogil:
    cdef uint64_t real = clock_realtime_ns() - (clock_monotonic_ns() - at_ns)
    cdef uint64_t s = real // 1000000000
    cdef int ms = <int>(real // 1000000 % 1000)
    cdef int year = 0
    cdef int month = 0
    cdef int day = 0
    if p.stamp_s != s:
        p.stamp_s = s
        _civil(s, &year, &month, &day)
        memcpy(p.stamp, b"2026-01-01T00:00:00", 19)
        _two(p.stamp, year // 100)
        _two(p.stamp + 2, year % 100)
        _two(p.stamp + 5, month)
        _two(p.stamp + 8, day)
        _clock(p.stamp + 11, s)
    memcpy(to, p.stamp, 19)
    to[19] = 46
    to[20] = <uint8_t>(48 + ms // 100)
    _two(<char *>to + 21, ms % 100)
    to[23] = 90
    return 24
