"""Pages of machine code that a process needed only as it started.

They belong to files and are clean, so the kernel could have them back at any time. But it only asks when memory is
short; until then they count as this process's.
"""

cdef extern from "<sys/mman.h>" nogil:
    int MADV_DONTNEED
    int madvise(void *start, size_t length, int advice)


def release_code_pages():
    """Give them all back; what is still needed is mapped again by its next use. Returns how many bytes of code that
    was about; 0 without /proc."""
    cdef size_t start = 0, end = 0, released = 0
    is_code = False
    try:
        file = open("/proc/self/smaps")
    except OSError:
        return 0
    with file:
        for line in file:
            fields = line.split()
            if "-" in fields[0]:
                # start-end permissions offset device inode path
                is_code = fields[1] == "r-xp" and len(fields) > 5 and fields[5].startswith("/")
                first, _, last = fields[0].partition("-")
                start, end = int(first, 16), int(last, 16)
            elif is_code and fields[0] == "Anonymous:" and fields[1] == "0":
                # None of them was written to (a debugger does that), so the file has it all.
                if madvise(<void *>start, end - start, MADV_DONTNEED) == 0:
                    released += end - start
    return released
