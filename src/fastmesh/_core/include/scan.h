/* Find the first byte outside a set, 16 bytes at a time.
 *
 * Every scanner takes [p, end) and `low`, the first byte of the buffer that p lies in:
 * the last bytes before `end` are covered by one load that overlaps what was searched
 * before, so nothing outside [low, end) is ever read. Each returns the place of the
 * first byte outside its set, or `end`.
 *
 * SSE2 is the baseline of x86-64 and NEON that of AArch64; other machines (and builds
 * with FM_SCALAR) take the table one byte at a time. */
#ifndef FM_SCAN_H
#define FM_SCAN_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "char_class.h"
#include "compiler.h"

#if defined(__SSE2__) && !defined(FM_SCALAR)

#include <emmintrin.h>
#define SCAN_WIDE 1
#define SCAN_LANE 0 /* log2 of the mask bits per byte */
typedef __m128i scan_v;
typedef uint32_t scan_m;

static inline scan_v scan_load(const uint8_t *p) { return _mm_loadu_si128((const __m128i *)p); }
static inline scan_m scan_bad_bits(scan_v good) { return (scan_m)_mm_movemask_epi8(good) ^ 0xffffu; }
static inline scan_v scan_all(char c) { return _mm_set1_epi8(c); }
static inline scan_v scan_eq(scan_v v, char c) { return _mm_cmpeq_epi8(v, scan_all(c)); }
static inline scan_v scan_or(scan_v a, scan_v b) { return _mm_or_si128(a, b); }
static inline scan_v scan_and(scan_v a, scan_v b) { return _mm_and_si128(a, b); }
static inline scan_v scan_without(scan_v a, scan_v b) { return _mm_andnot_si128(b, a); }
/* lo <= byte <= hi, both unsigned: there is no unsigned comparison, but a saturating distance. */
static inline scan_v scan_range(scan_v v, uint8_t lo, uint8_t hi) {
    scan_v d = _mm_sub_epi8(v, scan_all((char)lo));
    return _mm_cmpeq_epi8(_mm_min_epu8(d, scan_all((char)(hi - lo))), d);
}

#elif defined(__ARM_NEON) && defined(__aarch64__) && !defined(FM_SCALAR)

#include <arm_neon.h>
#define SCAN_WIDE 1
#define SCAN_LANE 2
typedef uint8x16_t scan_v;
typedef uint64_t scan_m;

static inline scan_v scan_load(const uint8_t *p) { return vld1q_u8(p); }
/* There is no movemask: narrowing by four bits leaves a nibble per byte. */
static inline scan_m scan_bad_bits(scan_v good) {
    uint8x8_t nibbles = vshrn_n_u16(vreinterpretq_u16_u8(vmvnq_u8(good)), 4);
    return vget_lane_u64(vreinterpret_u64_u8(nibbles), 0);
}
static inline scan_v scan_all(char c) { return vdupq_n_u8((uint8_t)c); }
static inline scan_v scan_eq(scan_v v, char c) { return vceqq_u8(v, scan_all(c)); }
static inline scan_v scan_or(scan_v a, scan_v b) { return vorrq_u8(a, b); }
static inline scan_v scan_and(scan_v a, scan_v b) { return vandq_u8(a, b); }
static inline scan_v scan_without(scan_v a, scan_v b) { return vbicq_u8(a, b); }
static inline scan_v scan_range(scan_v v, uint8_t lo, uint8_t hi) {
    return vcleq_u8(vsubq_u8(v, vdupq_n_u8(lo)), vdupq_n_u8((uint8_t)(hi - lo)));
}

#else
#define SCAN_WIDE 0
#endif

#if SCAN_WIDE

/* Most of CC_TCHAR: letters, digits, "-". The scanner leaves the rest to the table. */
static inline scan_v scan_good_name(scan_v v) {
    scan_v letter = scan_range(scan_or(v, scan_all(0x20)), 'a', 'z');
    return scan_or(scan_or(letter, scan_range(v, '0', '9')), scan_eq(v, '-'));
}
static inline scan_v scan_good_value(scan_v v) {
    return scan_or(scan_without(scan_range(v, 0x20, 0xff), scan_eq(v, 0x7f)), scan_eq(v, '\t'));
}
static inline scan_v scan_good_target(scan_v v) {
    return scan_without(scan_range(v, 0x21, 0x7e), scan_eq(v, '#'));
}
static inline scan_v scan_good_path(scan_v v) {
    return scan_without(scan_good_target(v), scan_eq(v, '?'));
}

#define SCAN_LOOP(good)                                                                         \
    scan_m m;                                                                                   \
    while (end - p >= 16) {                                                                     \
        m = scan_bad_bits(good(scan_load(p)));                                                  \
        if (m != 0) return p + (__builtin_ctzll(m) >> SCAN_LANE);                               \
        p += 16;                                                                                \
    }                                                                                           \
    if (end - low >= 16) {                                                                      \
        if (p == end) return end;                                                               \
        m = scan_bad_bits(good(scan_load(end - 16))) >> ((16 - (end - p)) << SCAN_LANE);        \
        return m != 0 ? p + (__builtin_ctzll(m) >> SCAN_LANE) : end;                            \
    }

#else
#define SCAN_LOOP(good) (void)low;
#endif

#define SCAN_TABLE(class_bit)                                                                   \
    while (p < end && (FM_CHAR_CLASS[*p] & class_bit)) p++;                                     \
    return p;

static inline const uint8_t *scan_common_name(const uint8_t *p, const uint8_t *end, const uint8_t *low) {
    SCAN_LOOP(scan_good_name)
    SCAN_TABLE(CC_TCHAR)
}

/* Stops at the first byte that is not a tchar. */
static inline const uint8_t *scan_name(const uint8_t *p, const uint8_t *end, const uint8_t *low) {
    p = scan_common_name(p, end, low);
    SCAN_TABLE(CC_TCHAR)
}

/* Stops at the first byte that may not stand in a field value: CR, in a good message. */
static inline const uint8_t *scan_value(const uint8_t *p, const uint8_t *end, const uint8_t *low) {
    SCAN_LOOP(scan_good_value)
    SCAN_TABLE(CC_VALUE)
}

static inline const uint8_t *scan_target(const uint8_t *p, const uint8_t *end, const uint8_t *low) {
    SCAN_LOOP(scan_good_target)
    SCAN_TABLE(CC_TARGET)
}

/* As scan_target, and stops at "?". */
static inline const uint8_t *scan_path(const uint8_t *p, const uint8_t *end, const uint8_t *low) {
    SCAN_LOOP(scan_good_path)
    SCAN_TABLE(CC_PATH)
}

/* Stops at the first byte that may not stand in a host name. Hosts are short: no wide form. */
static inline const uint8_t *scan_host(const uint8_t *p, const uint8_t *end) {
    SCAN_TABLE(CC_HOST)
}

/* The place where a path may stop being in normal form: "%", "\", ";", or a "/" followed by "/" or ".".
 * The byte after the last one does not exist, so a final "/" is fine. */
static inline const uint8_t *scan_plain_path(const uint8_t *p, const uint8_t *end) {
#if SCAN_WIDE
    while (end - p >= 17) {
        scan_v v = scan_load(p), next = scan_load(p + 1);
        scan_v odd = scan_or(scan_or(scan_eq(v, '%'), scan_eq(v, '\\')), scan_eq(v, ';'));
        scan_v turn = scan_and(scan_eq(v, '/'), scan_or(scan_eq(next, '/'), scan_eq(next, '.')));
        odd = scan_or(odd, turn);
        /* "good" is the complement of odd. */
        scan_m m = scan_bad_bits(scan_eq(odd, 0));
        if (m != 0) return p + (__builtin_ctzll(m) >> SCAN_LANE);
        p += 16;
    }
#endif
    for (; p < end; p++) {
        if (*p == '%' || *p == '\\' || *p == ';') return p;
        if (*p == '/' && p + 1 < end && (p[1] == '/' || p[1] == '.')) return p;
    }
    return p;
}

static inline uint64_t scan_load8(const uint8_t *p) {
    uint64_t w;
    memcpy(&w, p, 8);
    return w;
}

static inline uint32_t scan_load4(const uint8_t *p) {
    uint32_t w;
    memcpy(&w, p, 4);
    return w;
}

/* Equal but for the case of ASCII letters; `lower` is in lower case and holds no byte that
 * differs from another token byte in bit 5 alone ("^" "~", "_" DEL, "@" "`"). */
static inline int scan_is_fold(const uint8_t *p, const char *lower, size_t n) {
    size_t i;
    for (i = 0; i < n; i++)
        if ((p[i] | 0x20) != (uint8_t)lower[i]) return 0;
    return 1;
}

#endif
