"""The slices of processes, as the kernel tells them."""

import ctypes
import os
import platform
import struct

SCHED_GETATTR = {"x86_64": 315, "aarch64": 275}[platform.machine()]
# struct sched_attr: size, policy, flags, nice, priority, runtime, deadline, period.
ATTR = struct.Struct("=IIQiIQQQ")
KNOWN = tuple(map(int, platform.release().split(".")[:2])) >= (6, 12)


def slice_ns(pid: int) -> int:
    """Of the main thread of a process; 0 on a kernel that has no slices."""
    room = ctypes.create_string_buffer(ATTR.size)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.syscall(SCHED_GETATTR, pid, room, ATTR.size, 0):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return int(ATTR.unpack(room.raw)[5])
