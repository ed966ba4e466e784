/* Classes of bytes in HTTP heads, one bit per class (RFC 9110 section 5.6.2, RFC 3986).
 *
 * The table is what the grammar says; scan.h has faster forms of the same sets, and the
 * tests compare the two over all bytes. */
#ifndef FM_CHAR_CLASS_H
#define FM_CHAR_CLASS_H

#include <stdint.h>

enum {
    CC_TCHAR = 1,       /* token: methods, field names */
    CC_VALUE = 2,       /* field values and reason phrases: no control character but HTAB */
    CC_TARGET = 4,      /* request targets: visible ASCII without "#" */
    CC_PATH = 8,        /* as CC_TARGET, without "?" */
    CC_HOST = 16,       /* reg-name and IPv4 address; "," is left out because lists are built with it */
    CC_HEX = 32,
    CC_UNRESERVED = 64, /* letters, digits, "-", ".", "_", "~" */
};

static const uint8_t FM_CHAR_CLASS[256] = {
      0,   0,   0,   0,   0,   0,   0,   0,   0,   2,   0,   0,   0,   0,   0,   0,
      0,   0,   0,   0,   0,   0,   0,   0,   0,   0,   0,   0,   0,   0,   0,   0,
      2,  31,  14,   3,  31,  15,  31,  31,  30,  30,  31,  31,  14,  95,  95,  14,
    127, 127, 127, 127, 127, 127, 127, 127, 127, 127,  14,  30,  14,  30,  14,   6,
     14, 127, 127, 127, 127, 127, 127,  95,  95,  95,  95,  95,  95,  95,  95,  95,
     95,  95,  95,  95,  95,  95,  95,  95,  95,  95,  95,  14,  14,  14,  15,  95,
     15, 127, 127, 127, 127, 127, 127,  95,  95,  95,  95,  95,  95,  95,  95,  95,
     95,  95,  95,  95,  95,  95,  95,  95,  95,  95,  95,  14,  15,  14,  95,   0,
      2,   2,   2,   2,   2,   2,   2,   2,   2,   2,   2,   2,   2,   2,   2,   2,
      2,   2,   2,   2,   2,   2,   2,   2,   2,   2,   2,   2,   2,   2,   2,   2,
      2,   2,   2,   2,   2,   2,   2,   2,   2,   2,   2,   2,   2,   2,   2,   2,
      2,   2,   2,   2,   2,   2,   2,   2,   2,   2,   2,   2,   2,   2,   2,   2,
      2,   2,   2,   2,   2,   2,   2,   2,   2,   2,   2,   2,   2,   2,   2,   2,
      2,   2,   2,   2,   2,   2,   2,   2,   2,   2,   2,   2,   2,   2,   2,   2,
      2,   2,   2,   2,   2,   2,   2,   2,   2,   2,   2,   2,   2,   2,   2,   2,
      2,   2,   2,   2,   2,   2,   2,   2,   2,   2,   2,   2,   2,   2,   2,   2,
};

static inline int char_is(uint8_t c, int class_bits) { return FM_CHAR_CLASS[c] & class_bits; }

/* The value of a hexadecimal digit, or -1. */
static inline int char_hex(uint8_t c) {
    if ((uint8_t)(c - '0') < 10) return c - '0';
    c |= 0x20;
    if ((uint8_t)(c - 'a') < 6) return c - 'a' + 10;
    return -1;
}

#endif
