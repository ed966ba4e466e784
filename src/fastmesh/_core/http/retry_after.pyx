"""See retry_after.pxd."""
from libc.stdint cimport int64_t, uint8_t, uint32_t
from libc.string cimport memcmp

cdef enum:
    FIXDATE = 29              # "Sun, 06 Nov 1994 08:49:37 GMT"

cdef const char *MONTHS = b"JanFebMarAprMayJunJulAugSepOctNovDec"


cdef int64_t number(const uint8_t *p, uint32_t n) noexcept nogil:
    """-1 where there is something else than digits."""
    cdef int64_t v = 0
    cdef uint32_t i
    for i in range(n):
        if not 48 <= p[i] <= 57:
            return -1
        if v < RETRY_AFTER_MAX_S:
            v = v * 10 + (p[i] - 48)
    return v


cdef int64_t date_seconds(span_t s) noexcept nogil:
    """Seconds since 1970, or -1."""
    cdef const uint8_t *p = s.ptr
    cdef int64_t day, year, hour, minute, second, era_year, days
    cdef int month = 0
    if s.len != FIXDATE or memcmp(p + 3, b", ", 2) != 0 or memcmp(p + 25, b" GMT", 4) != 0:
        return -1
    if p[7] != c' ' or p[11] != c' ' or p[16] != c' ' or p[19] != c':' or p[22] != c':':
        return -1
    day = number(p + 5, 2)
    year = number(p + 12, 4)
    hour = number(p + 17, 2)
    minute = number(p + 20, 2)
    second = number(p + 23, 2)
    while month < 12 and memcmp(p + 8, MONTHS + 3 * month, 3) != 0:
        month += 1
    if not (month < 12 and 1 <= day <= 31 and 1970 <= year and 0 <= hour <= 23 and 0 <= minute <= 59 and
            0 <= second <= 60):
        return -1
    # Days from 1 March of the year 0, as years that begin in March have their odd day last.
    month -= 2
    era_year = year
    if month < 0:
        month += 12
        era_year -= 1
    days = 365 * era_year + era_year // 4 - era_year // 100 + era_year // 400 + (153 * month + 2) // 5 + day - 1
    return (days - 719468) * 86400 + hour * 3600 + minute * 60 + second


cdef uint64_t retry_after_seconds(span_t value, span_t date) noexcept nogil:
    cdef int64_t until, since
    if value.ptr is NULL or value.len == 0:
        return 0
    if 48 <= value.ptr[0] <= 57:
        until = number(value.ptr, value.len)
        since = 0
    else:
        until = date_seconds(value)
        since = date_seconds(date) if date.ptr is not NULL else -1
        if since < 0:
            return 0
    if until <= since:
        return 0
    return <uint64_t>(until - since) if until - since < RETRY_AFTER_MAX_S else RETRY_AFTER_MAX_S
