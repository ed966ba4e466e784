"""Names and passwords, checked without being kept."""

import os
from base64 import b64decode, b64encode
from binascii import Error as BadBase64
from hashlib import scrypt, sha256
from hmac import compare_digest
from time import monotonic

from fastmesh import Authorizer, Request, Response, Secret

LONGEST = 512               # characters of a name with its password; scrypt's work does not depend on it
MEMORY = 64 << 20           # what one check may take
COST, BLOCK, LANES = 1 << 14, 8, 1


class BasicAuth(Authorizer):
    """HTTP basic authentication. Passwords stand as scrypt hashes in the configuration, `users: {anna: "scrypt:…"}`;
    `python -m fastmesh.filters.builtin.basic_auth` makes one.

    A check costs some 50 ms on purpose, so its result is kept, good or bad, for as many pairs of name and password as
    `remembered` says. A worker makes at most `checks_per_second`; beyond that, pairs that are not remembered are
    answered with 503. Where strangers may try passwords, set `isolated: true`: then other requests do not wait for it.
    """

    budget = "250ms"
    needs = ("authorization",)

    users: dict[str, Secret]
    realm: str = "restricted"
    remembered: int = 1024
    checks_per_second: float = 4.0
    label: str = "user"
    forward: bool = False                   # whether the upstream sees name and password

    def start(self) -> None:
        if not self.users:
            raise ValueError("users is empty: nobody could pass")
        if self.remembered < 1 or self.checks_per_second <= 0:
            raise ValueError("remembered and checks_per_second must be above 0")
        self.hashes = {user: parsed(text, user) for user, text in self.users.items()}
        # An unknown name takes as long as a known one.
        self.nobody = next(iter(self.hashes.values()))
        self.secret = os.urandom(16)        # what is remembered is of no use outside of this process
        self.good: dict[bytes, None] = {}
        self.bad: dict[bytes, None] = {}
        self.tokens = burst = max(1.0, self.checks_per_second)
        self.burst, self.filled = burst, monotonic()
        self.challenge = 'Basic realm="{}", charset="UTF-8"'.format(self.realm.replace("\\", "").replace('"', ""))

    def allow(self, request: Request) -> bool | Response:
        given = request.headers.get_all("authorization")
        user, colon, password = credentials(given[0]) if len(given) == 1 else ("", "", "")
        if not colon:
            return self.refused()
        pair = sha256(self.secret + f"{user}:{password}".encode()).digest()
        if pair not in self.good:
            if pair in self.bad:
                return self.refused()
            if not self.may_check():
                return Response(503, text="too many passwords to check\n", headers={"retry-after": "1"})
            if not self.is_right(user, password):
                remember(self.bad, pair, self.remembered)
                return self.refused()
            remember(self.good, pair, self.remembered)
        request.labels[self.label] = user
        if not self.forward:
            request.headers.discard("authorization")
        return True

    def is_right(self, user: str, password: str) -> bool:
        cost, block, lanes, salt, wanted = self.hashes.get(user, self.nobody)
        found = scrypt(password.encode(), salt=salt, n=cost, r=block, p=lanes, dklen=len(wanted), maxmem=MEMORY)
        return compare_digest(found, wanted) and user in self.hashes

    def may_check(self) -> bool:
        now = monotonic()
        self.tokens = min(self.burst, self.tokens + (now - self.filled) * self.checks_per_second)
        self.filled = now
        if self.tokens < 1:
            return False
        self.tokens -= 1
        return True

    def refused(self) -> Response:
        return Response(401, text="name and password, please\n", headers={"www-authenticate": self.challenge})


def credentials(header: str) -> tuple[str, str, str]:
    """Name, colon and password of an Authorization header; the colon is absent from what is none."""
    scheme, _, rest = header.partition(" ")
    if scheme.lower() != "basic" or len(rest) > LONGEST:
        return "", "", ""
    try:
        return b64decode(rest.strip(), validate=True).decode().partition(":")
    except (BadBase64, ValueError):
        return "", "", ""


def remember(pairs: dict[bytes, None], pair: bytes, most: int) -> None:
    """Keep one more, and forget the oldest when there are too many."""
    if len(pairs) >= most:
        del pairs[next(iter(pairs))]
    pairs[pair] = None


def hash_password(password: str, cost: int = COST) -> str:
    """What stands in the configuration in place of a password."""
    salt = os.urandom(16)
    key = scrypt(password.encode(), salt=salt, n=cost, r=BLOCK, p=LANES, dklen=32, maxmem=MEMORY)
    return f"scrypt:{cost}:{BLOCK}:{LANES}:{b64encode(salt).decode()}:{b64encode(key).decode()}"


def parsed(text: str, user: str) -> tuple[int, int, int, bytes, bytes]:
    """Cost, block size, lanes, salt and key of a hash. Raises ValueError."""
    try:
        word, cost, block, lanes, salt, key = text.split(":")
        found = int(cost), int(block), int(lanes), b64decode(salt, validate=True), b64decode(key, validate=True)
        n, r, p = found[:3]
        if word != "scrypt" or n < 2 or n & (n - 1) or r < 1 or p < 1 or len(found[4]) < 16:
            raise ValueError
    except ValueError:
        raise ValueError(f"users: what stands for the password of {user!r} is no hash; "
                         "`python -m fastmesh.filters.builtin.basic_auth` makes one") from None
    if 128 * n * r > MEMORY // 2 or p > 4:
        raise ValueError(f"users: checking the hash of {user!r} takes too much memory or time; allowed are 32 MiB "
                         "and 4 lanes")
    return found


if __name__ == "__main__":
    from getpass import getpass
    print(hash_password(getpass()))
