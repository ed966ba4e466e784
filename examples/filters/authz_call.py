"""A question to another service, asked through the mesh, and its answer remembered by all workers."""

from fastmesh import Filter, Request, Response, shared


class AuthzCall(Filter):
    """Asks the cluster `authz` whether a client may do this, and believes the answer for a few seconds.

    `self.mesh` uses the mesh's own connections, load balancing and limits. While it waits, the worker serves others;
    when the client leaves, so does the question.

    `x-user` is what the client says of itself, unless a filter before this one has checked who it is and sets the
    header, as the built-in `jwt-check` does with `claims: {sub: x-user}`. Without one, anybody may ask as anybody.
    """

    security = True

    cluster: str = "authz"
    path: str = "/v1/check"
    remember: float = 5.0                   # seconds

    def start(self) -> None:
        self.known = shared.LruMap("authz", max_entries=50_000, max_bytes=1, ttl=self.remember)

    async def on_request(self, request: Request) -> Response | None:
        who = request.headers.get("x-user", "")
        key = f"{who}\n{request.method}\n{request.path}"
        allowed = self.known.get(key)
        if allowed is None:
            reply = await self.mesh.post(self.cluster, self.path, timeout=0.5, json={
                "user": who, "peer": request.peer, "method": request.method, "path": request.path})
            if reply.status not in (200, 403):
                raise RuntimeError(f"{self.cluster} answered {reply.status}")      # no verdict: closed, and counted
            allowed = int(reply.status == 200)
            self.known.put(key, allowed)
        return None if allowed else Response(403, text="not allowed\n")
