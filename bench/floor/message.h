/* All the floors know of HTTP: where a message ends. */
#ifndef FASTMESH_BENCH_MESSAGE_H
#define FASTMESH_BENCH_MESSAGE_H

#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* Length of the message at the front, 0 when its head is not complete. */
static inline long message_length(const char *bytes, long available) {
    const char *end = memmem(bytes, (size_t)available, "\r\n\r\n", 4);
    if (!end) return 0;
    const char *line = bytes;
    while ((line = memchr(line, '\n', (size_t)(end - line + 2))) != NULL && ++line < end) {
        if ((*line | 0x20) == 'c' && end - line > 15 && !strncasecmp(line, "content-length:", 15))
            return end + 4 - bytes + strtol(line + 15, NULL, 10);
    }
    return end + 4 - bytes;
}

#endif
