"""The memory in which filters of all workers share their objects, see `fastmesh._core.mem.segment`.

Control makes it once and never looks into it. Whoever maps it first puts its beginning in order; a page of it exists
when something was stored there. It ends with the control process.
"""

import fcntl
import os

SHARED_BYTES = 64 << 20
SEALS = fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_SEAL


def shared_memory() -> int:
    """A memfd, which the caller owns. Its length is fixed: a worker that cut it off would kill all the others."""
    fd = os.memfd_create("fastmesh-shared", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.ftruncate(fd, SHARED_BYTES)
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, SEALS)
    return fd
