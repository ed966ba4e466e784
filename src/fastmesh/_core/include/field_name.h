/* From the name of a header field to its number, without a loop over names.
 *
 * (length + 5 * first letter) mod 64 happens to be different for all known names, so one
 * entry is compared and no more. The numbers are those of token.pxd; a test compares
 * both. A new name that collides needs new factors: tests/unit/_core/http/test_names.py
 * says so. */
#ifndef FM_FIELD_NAME_H
#define FM_FIELD_NAME_H

#include "scan.h"

typedef struct {
    char text[22]; /* lower case */
    uint8_t len;
    uint8_t id;
} field_name_t;

static const field_name_t FM_FIELD_NAMES[64] = {
    [0] = {"proxy-connection", 16, 10},
    [1] = {"referer", 7, 25},
    [2] = {"proxy-authenticate", 18, 20},
    [3] = {"proxy-authorization", 19, 21},
    [5] = {"server", 6, 17},
    [6] = {"te", 2, 5},
    [7] = {"forwarded", 9, 23},
    [11] = {"trailer", 7, 6},
    [12] = {"host", 4, 1},
    [15] = {"traceparent", 11, 24},
    [16] = {"upgrade", 7, 7},
    [17] = {"via", 3, 18},
    [19] = {"user-agent", 10, 15},
    [21] = {"transfer-encoding", 17, 4},
    [22] = {"http2-settings", 14, 22},
    [33] = {"keep-alive", 10, 9},
    [36] = {"x-request-id", 12, 14},
    [39] = {"x-forwarded-for", 15, 11},
    [40] = {"x-forwarded-host", 16, 13},
    [41] = {"x-forwarded-proto", 17, 12},
    [56] = {"date", 4, 16},
    [57] = {"connection", 10, 2},
    [59] = {"content-type", 12, 19},
    [61] = {"content-length", 14, 3},
    [63] = {"expect", 6, 8},
};

#define FIELD_NAME_FOLD8 0x2020202020202020ull
#define FIELD_NAME_FOLD4 0x20202020u

/* The id of a name made of tchars, n > 0; 0 when it is not a known one. Setting bit 5 folds
 * letters exactly here: no other tchar becomes a letter, a digit or "-" by it. */
static inline unsigned field_name_id(const uint8_t *p, size_t n) {
    const field_name_t *e = &FM_FIELD_NAMES[((unsigned)n + 5u * (p[0] | 0x20u)) & 63u];
    const uint8_t *t = (const uint8_t *)e->text;
    if (e->len != n) return 0;
    if (n >= 8) {
        uint64_t diff = ((scan_load8(p) | FIELD_NAME_FOLD8) ^ scan_load8(t)) |
                        ((scan_load8(p + n - 8) | FIELD_NAME_FOLD8) ^ scan_load8(t + n - 8));
        if (n > 16) diff |= (scan_load8(p + 8) | FIELD_NAME_FOLD8) ^ scan_load8(t + 8);
        return diff == 0 ? e->id : 0;
    }
    if (n >= 4) {
        uint32_t diff = ((scan_load4(p) | FIELD_NAME_FOLD4) ^ scan_load4(t)) |
                        ((scan_load4(p + n - 4) | FIELD_NAME_FOLD4) ^ scan_load4(t + n - 4));
        return diff == 0 ? e->id : 0;
    }
    return scan_is_fold(p, e->text, n) ? e->id : 0;
}

/* Names without a number; a final "-" makes one a prefix. */
static inline int name_is_listed(const char *const *names, const uint8_t *p, size_t n) {
    for (; *names; names++) {
        size_t k = strlen(*names);
        if ((n == k || (n > k && (*names)[k - 1] == '-')) && scan_is_fold(p, *names, k)) return 1;
    }
    return 0;
}

/* Fields that a client cannot have removed by naming them in Connection: policies, routing and
 * logs of this proxy or the next one rely on them. */
static inline int name_is_kept(const uint8_t *p, size_t n) {
    static const char *const names[] = {
        "authorization", "cookie", "set-cookie", "cache-control", "origin", "range", "www-authenticate",
        "x-real-ip", "tracestate", "b3", "content-", "x-forwarded-", "x-envoy-", "x-b3-", 0,
    };
    return name_is_listed(names, p, n);
}

/* Fields that are not taken from trailers (RFC 9110 section 6.5.1), beside the ones above. */
static inline int name_is_no_trailer(const uint8_t *p, size_t n) {
    static const char *const names[] = {
        "max-forwards", "pragma", "if-", "age", "expires", "location", "retry-after", "vary", "warning",
        "authentication-info", "accept-ranges", 0,
    };
    return name_is_listed(names, p, n);
}

#endif
