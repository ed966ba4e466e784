"""A request names its tenant, or goes no further."""

from fastmesh import Filter, Request, Response


class RequireTenant(Filter):
    """Refuses requests that name no tenant and labels those that do."""

    header: str = "x-tenant"

    def on_request(self, request: Request) -> Response | None:
        tenant = request.headers.get(self.header)
        if tenant is None:
            return Response(400, text=f"missing {self.header}\n")
        request.labels["tenant"] = tenant           # into the access log
        return None
