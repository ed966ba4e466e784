"""libFuzzer inside a Python process: the interpreter only loads the codecs, no Python runs between two inputs."""
from libc.stdint cimport uint8_t
from libc.stdio cimport fprintf, stderr
from libc.stdlib cimport abort, free, malloc
from libc.string cimport strdup
from probes.fuzz_targets cimport fuzz_target, fuzz_target_t

cdef extern from *:
    """
    extern int LLVMFuzzerRunDriver(int *argc, char ***argv, int (*callback)(const uint8_t *p, size_t n));
    """
    int LLVMFuzzerRunDriver(int *argc, char ***argv, int (*callback)(const uint8_t *p, size_t n) noexcept nogil) nogil

cdef fuzz_target_t chosen = NULL


cdef int one_input(const uint8_t *p, size_t n) noexcept nogil:
    cdef const char *why = chosen(p, n)
    if why is not NULL:
        fprintf(stderr, "== did not hold: %s\n", why)
        abort()
    return 0


def fuzz(str target, list arguments):
    """Runs until libFuzzer ends the process."""
    global chosen
    cdef int argc = len(arguments), i
    cdef char **argv = <char **>malloc((argc + 1) * sizeof(char *))
    chosen = fuzz_target(target.encode())
    if chosen is NULL:
        free(argv)
        raise SystemExit(f"no such target: {target}")
    for i in range(argc):
        argv[i] = strdup(arguments[i].encode())
    argv[argc] = NULL
    return LLVMFuzzerRunDriver(&argc, &argv, one_input)
