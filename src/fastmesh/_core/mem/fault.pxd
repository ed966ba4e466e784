"""Result codes of the data plane.

Below the filters nothing raises: a function that can fail returns one of these.
They start at -2, because -1 is both Cython's exception sentinel and libc's.
"""

cdef enum:
    FM_OK = 0
    FM_AGAIN = -2      # nothing wrong: come back when there is more
    FM_EPROTO = -3     # the peer broke the protocol
    FM_ELIMIT = -4     # one of our own limits was reached
    FM_ESYS = -5       # a system call failed; errno says which way
    FM_EOF = -6        # orderly end of stream
