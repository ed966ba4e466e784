"""How long a process computes before another may: the slice of Linux's fair scheduler.

Of those that are owed time the kernel lets that one go first whose slice ends soonest: whoever has a long slice gives
way to all others as they wake up, and has his share all the same. Linux 6.12 and later; earlier ones take the call and
ignore it. (EEVDF: Stoica and Abdel-Wahab, "Earliest Eligible Virtual Deadline First", 1995.)
"""
from libc.stdint cimport int32_t, uint32_t, uint64_t

cdef extern from "<sys/resource.h>" nogil:
    int PRIO_PROCESS
    int getpriority(int which, uint32_t who)

cdef extern from "<sys/syscall.h>" nogil:
    long SYS_sched_setattr

cdef extern from "<unistd.h>" nogil:
    long syscall(long number, ...)

# Of who gives way: longer than anything that is done here in one go.
LONG_NS = 20000000

cdef enum:
    SCHED_OTHER = 0
    SCHED_FLAG_RESET_ON_FORK = 1

# struct sched_attr in its first form, which all kernels know.
ctypedef struct sched_attr_t:
    uint32_t size
    uint32_t policy
    uint64_t flags
    int32_t nice
    uint32_t priority
    uint64_t runtime          # of SCHED_OTHER: the slice, in nanoseconds; 0 = what is usual
    uint64_t deadline
    uint64_t period


def set_slice(uint64_t ns, bint with_children):
    """The slice of the calling thread, 100 µs to 100 ms; the kernel takes what is nearest, and for 0 what is usual.
    `with_children`: processes and threads that it starts have it too; else they have what is usual. False: the kernel
    refuses."""
    cdef sched_attr_t attr
    attr.size = sizeof(attr)
    attr.policy = SCHED_OTHER
    attr.flags = 0 if with_children else SCHED_FLAG_RESET_ON_FORK
    attr.nice = getpriority(PRIO_PROCESS, 0)
    attr.priority = 0
    attr.runtime = ns
    attr.deadline = attr.period = 0
    return syscall(SYS_sched_setattr, 0, &attr, 0) == 0
