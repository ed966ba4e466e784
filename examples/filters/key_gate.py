"""Typed configuration, an answer in place of the upstream's, and no way around it."""

from hmac import compare_digest

from fastmesh import Filter, Request, Response, Secret


class KeyGate(Filter):
    """Asks for a key and labels the request with the name of the one who has it.

    `security` makes it fail closed: an exception in here is a 503, never an open door.
    """

    security = True

    keys: dict[str, Secret]                 # name: key; `${KEY_OF_A}` in the configuration keeps it out of the file
    header: str = "x-api-key"

    def on_request(self, request: Request) -> Response | None:
        given = request.headers.get(self.header, "").encode()
        for name, key in self.keys.items():
            if compare_digest(given, key.encode()):
                request.labels["tenant"] = name
                request.headers.discard(self.header)        # the upstream need not know it
                return None
        return Response(401, text="no key\n", headers={"www-authenticate": "ApiKey"})
