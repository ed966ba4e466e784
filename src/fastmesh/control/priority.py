"""Control and its copies let everybody else go first as they wake up: the traffic waits for nobody who supervises.

A long slice alone, and no lower weight: nobody but root gets a weight back, and workers are children of control.
"""

from fastmesh._core.sys.scheduling import LONG_NS, set_slice


def yield_to_traffic() -> None:
    """For this process. What it starts is scheduled as is usual."""
    set_slice(LONG_NS, False)
