"""Who knows a key may pass."""

from hashlib import sha256
from hmac import compare_digest

from fastmesh import Authorizer, Request, Response, Secret

HASHED = "sha256:"


class ApiKey(Authorizer):
    """Lets requests with a known key pass, labels them with the key's name, and answers all others with 401.

    A key is given as it is, or as `sha256:` and the hexadecimal digest of it: a file with digests gives no key away.
    Digests of a fast hash are enough for keys, which are long and random; they are not for passwords (basic-auth).
    """

    keys: dict[str, Secret]                 # name of the client: its key
    header: str = "x-api-key"
    scheme: str = ""                        # a word before the key, such as Bearer
    label: str = "client"
    forward: bool = False                   # whether the upstream sees the key

    def start(self) -> None:
        self.names: dict[bytes, tuple[bytes, str]] = {}
        for name, key in self.keys.items():
            if not key:
                raise ValueError(f"keys: the key of {name!r} is empty")
            digest = digest_of(key, name)
            if digest in self.names:
                raise ValueError(f"keys: {name!r} and {self.names[digest][1]!r} have the same key")
            self.names[digest] = digest, name
        self.prefix = f"{self.scheme} ".lower() if self.scheme else ""

    def allow(self, request: Request) -> bool | Response:
        # Of two keys the upstream might believe the other one.
        all_given = request.headers.get_all(self.header)
        given = all_given[0] if len(all_given) == 1 else ""
        if self.prefix:
            given = given[len(self.prefix):].strip() if given.lower().startswith(self.prefix) else ""
        # What is looked up and compared is a digest: how long either takes says nothing about any key.
        digest = sha256(given.encode()).digest()
        known, name = self.names.get(digest, (b"", ""))
        if not given or not compare_digest(known, digest):
            return Response(401, text="a valid key is needed\n",
                            headers={"www-authenticate": self.scheme or "ApiKey"})
        request.labels[self.label] = name
        if not self.forward:
            request.headers.discard(self.header)
        return True


def digest_of(key: str, name: str) -> bytes:
    """The digest of a key, or the one that was given in its place."""
    if not key.startswith(HASHED):
        return sha256(key.encode()).digest()
    try:
        digest = bytes.fromhex(key.removeprefix(HASHED))
    except ValueError:
        digest = b""
    if len(digest) != 32:
        raise ValueError(f"keys: the key of {name!r} begins with sha256: but has no 64 hexadecimal digits behind it; "
                         "`printf %s KEY | sha256sum` prints them")
    return digest
