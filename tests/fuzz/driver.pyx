"""libFuzzer inside a Python process: for the codecs the interpreter only loads them, no Python runs between two inputs.

The target `proxy` is the playbook's stage, which is Python: some hundred inputs in a second, guided by what the core
does with them all the same.
"""
import traceback

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
cdef object chosen_in_python = None


cdef int one_input(const uint8_t *p, size_t n) noexcept nogil:
    cdef const char *why = chosen(p, n)
    if why is not NULL:
        fprintf(stderr, "== did not hold: %s\n", why)
        abort()
    return 0


cdef int one_input_in_python(const uint8_t *p, size_t n) noexcept with gil:
    try:
        chosen_in_python(p[:n])
    except BaseException:
        traceback.print_exc()
        abort()
    return 0


def fuzz(object target, list arguments):
    """Runs until libFuzzer ends the process. `target` is a name, or what takes the bytes of one input and raises."""
    global chosen, chosen_in_python
    cdef int argc = len(arguments), i
    cdef char **argv = <char **>malloc((argc + 1) * sizeof(char *))
    if callable(target):
        chosen_in_python = target
    else:
        chosen = fuzz_target(target.encode())
        if chosen is NULL:
            free(argv)
            raise SystemExit(f"no such target: {target}")
    for i in range(argc):
        argv[i] = strdup(arguments[i].encode())
    argv[argc] = NULL
    return LLVMFuzzerRunDriver(&argc, &argv, one_input if chosen is not NULL else one_input_in_python)
