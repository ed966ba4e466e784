"""A library that needs asyncio, in a process of its own."""

from time import time

from fastmesh import Filter, Request, Response


class GlobalQuota(Filter):
    """So many requests a minute for each tenant, over all machines: the count is in Redis.

    redis-py needs an event loop, so the filter is isolated: it runs in the filter host, and workers wait for it for
    `timeout` at most. `on_error = "open"`: without Redis nobody is counted and everybody is served.
    """

    isolated = True
    needs = ("x-tenant",)                   # only this header travels to the host
    on_error = "open"

    url: str = "redis://127.0.0.1:6379/0"
    per_minute: int = 500

    def start(self) -> None:
        # In the host only: workers and `fastmesh check` do without it.
        from redis.asyncio import Redis

        self.redis = Redis.from_url(self.url, socket_timeout=0.05)

    async def on_request(self, request: Request) -> Response | None:
        tenant = request.headers.get("x-tenant", request.peer)
        key = f"quota:{tenant}:{int(time()) // 60}"
        count = await self.redis.incr(key)
        if count == 1:
            await self.redis.expire(key, 120)
        if count > self.per_minute:
            return Response(429, text="the quota of this minute is used up\n", headers={"retry-after": "60"})
        return None
