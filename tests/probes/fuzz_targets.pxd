"""What the fuzzer runs, and what `tests/unit/test_fuzz_corpus.py` runs again over every input that is kept."""
from libc.stdint cimport uint8_t

# Feeds p[0:n) to one codec and checks what must hold whatever comes in. NULL, or a sentence: what did not hold.
ctypedef const char *(*fuzz_target_t)(const uint8_t *p, size_t n) noexcept nogil

# By name: h1_request, h1_response, chunked, uri, snapshot. NULL when there is no such target.
cdef fuzz_target_t fuzz_target(bytes name)
