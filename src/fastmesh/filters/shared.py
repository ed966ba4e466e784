"""What filters of all workers share: counters, gauges, flags, token buckets and bounded maps, by name::

    from fastmesh import Filter, Request, Response, shared

    class PerTenant(Filter):
        rate: float = 100.0

        def start(self) -> None:
            self.buckets = shared.TokenBuckets("tenants", rate=self.rate, burst=200)

        def on_request(self, request: Request) -> Response | None:
            wait = self.buckets.take(request.headers.get("x-tenant", ""))
            if wait:
                return Response(429, headers={"retry-after": str(int(wait) + 1)})

The memory is control's and outlives workers and reloads; it begins anew with the control process. Where there is no
control process, as in tests, it is the process's own and that of its children.
"""

from fastmesh._core.mem.shared import (
    Counter,
    Flag,
    Gauge,
    LruMap,
    Segment,
    SharedError,
    TokenBuckets,
    attach,
    detach,
    segment,
)

__all__ = ("Counter", "Flag", "Gauge", "LruMap", "Segment", "SharedError", "TokenBuckets", "attach", "detach",
           "segment")
