"""Memory that all workers share, and no call to anybody."""

from fastmesh import Filter, Request, Response, shared


class TenantQuota(Filter):
    """So many requests per second for each tenant, counted over all workers.

    The tenant is a label that a filter before this one has set; without one it is the client's address.
    """

    per_second: float = 50.0
    at_once: int = 100

    def start(self) -> None:
        self.buckets = shared.TokenBuckets("quota", rate=self.per_second, burst=self.at_once, max_keys=10_000)

    def on_request(self, request: Request) -> Response | None:
        wait = self.buckets.take(request.labels.get("tenant", request.peer))
        if wait:
            return Response(429, text="slow down\n", headers={"retry-after": str(int(wait) + 1)})
        return None
