"""Socket addresses as values: parse, print, compare, convert."""
from libc.stdint cimport uint8_t, uint16_t, uint32_t
from libc.string cimport memchr, memcmp, memcpy, memset, strlen
from fastmesh._core.mem.fault cimport FM_OK, FM_EPROTO

cdef extern from "<arpa/inet.h>" nogil:
    enum: AF_INET
    enum: AF_INET6
    enum: INET6_ADDRSTRLEN
    int inet_pton(int af, const char *src, void *dst)
    const char *inet_ntop(int af, const void *src, char *dst, unsigned int size)
    uint16_t htons(uint16_t v)
    uint16_t ntohs(uint16_t v)

cdef extern from "<sys/socket.h>" nogil:
    enum: AF_UNIX
    struct sockaddr:
        unsigned short sa_family

cdef extern from "<netinet/in.h>" nogil:
    struct in_addr:
        pass
    struct in6_addr:
        pass
    struct sockaddr_in:
        unsigned short sin_family
        uint16_t sin_port
        in_addr sin_addr
    struct sockaddr_in6:
        unsigned short sin6_family
        uint16_t sin6_port
        in6_addr sin6_addr

cdef extern from "<sys/un.h>" nogil:
    struct sockaddr_un:
        unsigned short sun_family
        char sun_path[108]

cdef enum:
    UN_PATH_OFF = 2           # offsetof(struct sockaddr_un, sun_path) on Linux


cdef int parse_port(const char *p, uint32_t n, uint16_t *port) noexcept nogil:
    cdef uint32_t v = 0
    cdef uint32_t i
    # A leading zero is refused: some readers take it for octal.
    if n == 0 or n > 5 or (n > 1 and p[0] == 48):
        return FM_EPROTO
    for i in range(n):
        if p[i] < 48 or p[i] > 57:
            return FM_EPROTO
        v = v * 10 + <uint32_t>(p[i] - 48)
    if v > 65535:
        return FM_EPROTO
    port[0] = <uint16_t>v
    return FM_OK


cdef int addr_parse(addr_t *a, const char *text, uint32_t n) noexcept nogil:
    cdef char host[64]        # INET6_ADDRSTRLEN is 46
    cdef const char *colon
    cdef uint32_t at
    memset(a, 0, sizeof(addr_t))
    if n > 5 and memcmp(text, b"unix:", 5) == 0:
        if n - 5 > ADDR_PATH_MAX or memchr(text + 5, 0, n - 5) is not NULL:
            return FM_EPROTO
        memcpy(a.ip, text + 5, n - 5)
        if a.ip[0] == 64:     # "@" stands for the NUL of an abstract name
            if n == 6:
                return FM_EPROTO
            a.ip[0] = 0
        a.family = AF_UNIX
        a.len = n - 5
        return FM_OK
    if n > 0 and text[0] == 91:
        colon = <const char *>memchr(text, 93, n)
        if colon is NULL:
            return FM_EPROTO
        at = <uint32_t>(colon - text)
        if at - 1 >= sizeof(host) or at + 1 >= n or text[at + 1] != 58:
            return FM_EPROTO
        memcpy(host, text + 1, at - 1)
        host[at - 1] = 0
        if strlen(host) != at - 1 or inet_pton(AF_INET6, host, a.ip) != 1:
            return FM_EPROTO
        if parse_port(text + at + 2, n - at - 2, &a.port) != FM_OK:
            return FM_EPROTO
        a.family = AF_INET6
        a.len = 16
        return FM_OK
    colon = <const char *>memchr(text, 58, n) if n != 0 else NULL
    if colon is NULL:
        return FM_EPROTO
    at = <uint32_t>(colon - text)
    if at >= sizeof(host):
        return FM_EPROTO
    memcpy(host, text, at)
    host[at] = 0
    if strlen(host) != at or inet_pton(AF_INET, host, a.ip) != 1:
        return FM_EPROTO
    if parse_port(text + at + 1, n - at - 1, &a.port) != FM_OK:
        return FM_EPROTO
    a.family = AF_INET
    a.len = 4
    return FM_OK


cdef int addr_parse_ip(addr_t *a, const uint8_t *text, uint32_t n) noexcept nogil:
    cdef char host[64]
    cdef const uint8_t *end = NULL
    memset(a, 0, sizeof(addr_t))
    if n > 0 and text[0] == 91:
        end = <const uint8_t *>memchr(text, 93, n)
        if end is NULL:
            return FM_EPROTO
        text += 1
        n = <uint32_t>(end - text)
    elif n > 0:
        end = <const uint8_t *>memchr(text, 58, n)
        # One colon is that of a port; an IPv6 address has two at least.
        if end is not NULL and memchr(end + 1, 58, n - <uint32_t>(end - text) - 1) is NULL:
            n = <uint32_t>(end - text)
    if n == 0 or n >= sizeof(host):
        return FM_EPROTO
    memcpy(host, text, n)
    host[n] = 0
    if strlen(host) != n:
        return FM_EPROTO
    if inet_pton(AF_INET, host, a.ip) == 1:
        a.family = AF_INET
        a.len = 4
        return FM_OK
    if inet_pton(AF_INET6, host, a.ip) != 1:
        return FM_EPROTO
    a.family = AF_INET6
    a.len = 16
    if memcmp(a.ip, b"\0\0\0\0\0\0\0\0\0\0\xff\xff", 12) == 0:
        memcpy(a.ip, a.ip + 12, 4)
        memset(a.ip + 4, 0, 12)
        a.family = AF_INET
        a.len = 4
    return FM_OK


cdef uint32_t put_decimal(char *dst, uint32_t v) noexcept nogil:
    cdef char digits[10]
    cdef uint32_t n = 0
    cdef uint32_t i
    while True:
        digits[n] = <char>(48 + v % 10)
        n += 1
        v //= 10
        if v == 0:
            break
    for i in range(n):
        dst[i] = digits[n - 1 - i]
    return n


cdef uint32_t put_ipv4(char *dst, const uint8_t *ip) noexcept nogil:
    cdef uint32_t n = 0
    cdef uint32_t i
    for i in range(4):
        if i != 0:
            dst[n] = 46
            n += 1
        n += put_decimal(dst + n, ip[i])
    return n


cdef uint32_t put_ipv6(char *dst, const uint8_t *ip) noexcept nogil:
    cdef char text[64]
    cdef uint32_t n
    if inet_ntop(AF_INET6, ip, text, sizeof(text)) is NULL:
        return 0
    n = <uint32_t>strlen(text)
    memcpy(dst, text, n)
    return n


cdef uint32_t addr_print(const addr_t *a, char *dst) noexcept nogil:
    cdef uint32_t n
    if a.family == AF_INET:
        n = put_ipv4(dst, a.ip)
        dst[n] = 58
        return n + 1 + put_decimal(dst + n + 1, a.port)
    if a.family == AF_INET6:
        dst[0] = 91
        n = 1 + put_ipv6(dst + 1, a.ip)
        dst[n] = 93
        dst[n + 1] = 58
        return n + 2 + put_decimal(dst + n + 2, a.port)
    if a.family == AF_UNIX:
        memcpy(dst, b"unix:", 5)
        n = a.len if a.len <= sizeof(a.ip) else <uint32_t>sizeof(a.ip)
        memcpy(dst + 5, a.ip, n)
        if n > 0 and a.ip[0] == 0:
            dst[5] = 64
        return 5 + n
    dst[0] = 45
    return 1


cdef uint32_t addr_print_ip(const addr_t *a, char *dst) noexcept nogil:
    if a.family == AF_INET:
        return put_ipv4(dst, a.ip)
    if a.family == AF_INET6:
        return put_ipv6(dst, a.ip)
    if a.family == AF_UNIX:
        memcpy(dst, b"unix", 4)
        return 4
    dst[0] = 45
    return 1


cdef uint32_t addr_to_sockaddr(const addr_t *a, void *storage) noexcept nogil:
    cdef sockaddr_in *v4 = <sockaddr_in *>storage
    cdef sockaddr_in6 *v6 = <sockaddr_in6 *>storage
    cdef sockaddr_un *un = <sockaddr_un *>storage
    if a.family == AF_INET:
        memset(v4, 0, sizeof(sockaddr_in))
        v4.sin_family = AF_INET
        v4.sin_port = htons(a.port)
        memcpy(&v4.sin_addr, a.ip, 4)
        return sizeof(sockaddr_in)
    if a.family == AF_INET6:
        memset(v6, 0, sizeof(sockaddr_in6))
        v6.sin6_family = AF_INET6
        v6.sin6_port = htons(a.port)
        memcpy(&v6.sin6_addr, a.ip, 16)
        return sizeof(sockaddr_in6)
    if a.family == AF_UNIX and a.len <= ADDR_PATH_MAX:
        memset(un, 0, sizeof(sockaddr_un))
        un.sun_family = AF_UNIX
        memcpy(un.sun_path, a.ip, a.len)
        # The name of an abstract socket ends with its length, a path with its NUL.
        if a.len > 0 and a.ip[0] != 0:
            return UN_PATH_OFF + a.len + 1
        return UN_PATH_OFF + a.len
    return 0


cdef int addr_from_sockaddr(addr_t *a, const void *storage, uint32_t n) noexcept nogil:
    cdef const sockaddr *any = <const sockaddr *>storage
    cdef const sockaddr_in *v4 = <const sockaddr_in *>storage
    cdef const sockaddr_in6 *v6 = <const sockaddr_in6 *>storage
    cdef const sockaddr_un *un = <const sockaddr_un *>storage
    cdef const uint8_t *ip
    memset(a, 0, sizeof(addr_t))
    if n < sizeof(any.sa_family):
        return FM_EPROTO
    if any.sa_family == AF_INET and n >= sizeof(sockaddr_in):
        a.family = AF_INET
        a.port = ntohs(v4.sin_port)
        a.len = 4
        memcpy(a.ip, &v4.sin_addr, 4)
        return FM_OK
    if any.sa_family == AF_INET6 and n >= sizeof(sockaddr_in6):
        ip = <const uint8_t *>&v6.sin6_addr
        a.port = ntohs(v6.sin6_port)
        if memcmp(ip, b"\0\0\0\0\0\0\0\0\0\0\xff\xff", 12) == 0:
            a.family = AF_INET
            a.len = 4
            memcpy(a.ip, ip + 12, 4)
        else:
            a.family = AF_INET6
            a.len = 16
            memcpy(a.ip, ip, 16)
        return FM_OK
    if any.sa_family == AF_UNIX:
        a.family = AF_UNIX
        n = n - UN_PATH_OFF if n > UN_PATH_OFF else 0
        if n > sizeof(a.ip):
            n = sizeof(a.ip)
        memcpy(a.ip, un.sun_path, n)
        # The kernel may or may not count the NUL of a path; an abstract name keeps all its bytes.
        if n > 0 and a.ip[0] != 0:
            while n > 0 and a.ip[n - 1] == 0:
                n -= 1
        a.len = n
        return FM_OK
    return FM_EPROTO


cdef bint addr_in_cidr(const addr_t *a, uint8_t family, uint8_t bits, const uint8_t *ip) noexcept nogil:
    cdef uint32_t whole = bits >> 3
    cdef uint32_t rest = bits & 7
    if family == 1:
        return a.family == AF_UNIX
    if family == 4:
        if a.family != AF_INET or bits > 32:
            return False
    elif family == 6:
        if a.family != AF_INET6 or bits > 128:
            return False
    else:
        return False
    if memcmp(a.ip, ip, whole) != 0:
        return False
    return rest == 0 or ((a.ip[whole] ^ ip[whole]) >> (8 - rest)) == 0


cdef int addr_compare(const addr_t *a, const addr_t *b) noexcept nogil:
    cdef uint32_t n = a.len if a.len < b.len else b.len
    cdef int c
    if a.family != b.family:
        return -1 if a.family < b.family else 1
    c = memcmp(a.ip, b.ip, n)
    if c != 0:
        return c
    if a.len != b.len:
        return -1 if a.len < b.len else 1
    return <int>a.port - <int>b.port
