"""Pages of programs and libraries that a process needed only as it started: code that ran once, tables of the loader.

They belong to files and are clean, so the kernel could have them back at any time. But it only asks when memory is
short; until then they count as this process's.
"""

from libc.stdio cimport FILE, fclose, fopen, sscanf
from libc.stdlib cimport free
from libc.string cimport strncmp

cdef extern from "<stdio.h>" nogil:
    ssize_t getline(char **line, size_t *room, FILE *file)

cdef extern from "<sys/mman.h>" nogil:
    int MADV_DONTNEED
    int madvise(void *start, size_t length, int advice)

cdef enum:
    PERMISSIONS = 4           # letters
    HEAD_FIELDS = 4           # of a mapping that has a path: start, end, permissions, and where the path begins


def release_code_pages():
    """Give all of them back that cannot be written to; what is still needed is mapped again by its next use. Returns
    how many bytes of files that was about; 0 without /proc."""
    cdef FILE *file = fopen("/proc/self/smaps", "re")
    cdef char *line = NULL    # owned
    cdef size_t room = 0, start = 0, end = 0, first, last, released = 0
    cdef char[PERMISSIONS + 1] permissions
    cdef char path
    cdef bint is_fixed = False
    if file is NULL:
        return 0
    while getline(&line, &room, file) > 0:
        # start-end permissions offset device inode path
        path = 0
        if sscanf(line, "%zx-%zx %4s %*s %*s %*s %c", &first, &last, permissions, &path) >= HEAD_FIELDS - 1:
            start, end = first, last
            is_fixed = path == c'/' and (
                strncmp(permissions, "r-xp", PERMISSIONS) == 0 or strncmp(permissions, "r--p", PERMISSIONS) == 0)
        # One of them may have been written to before (by the loader, or by a debugger): then the file has not got it.
        elif is_fixed and strncmp(line, "Anonymous:", 10) == 0:
            sscanf(line + 10, "%zu", &first)
            if first == 0 and madvise(<void *>start, end - start, MADV_DONTNEED) == 0:
                released += end - start
    free(line)
    fclose(file)
    return released
