"""Who carries a token that somebody trusted has signed may pass."""

from time import monotonic
from typing import Any

from fastmesh import Authorizer, Duration, Request, Response, Secret, Signal

try:
    import jwt
except ImportError:
    raise ImportError("the filter jwt needs PyJWT and cryptography: pip install 'fastmesh[jwt]'") from None

SYMMETRIC = ("HS256", "HS384", "HS512")
ASYMMETRIC = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
KINDS = {"RS": "RSA", "PS": "RSA", "ES": "EC", "Ed": "OKP"}
LONGEST = 16_384            # characters of a token
MOST_KEYS = 64
AGAIN = 1.0                 # seconds from a fetch that failed to the next
PATIENCE = 3                # how often one request waits for keys
# What a token can bring about: RecursionError by JSON that is deep, ValueError by a claim that cannot be a header.
WRONG = (jwt.InvalidTokenError, RecursionError, ValueError, TypeError, OverflowError)
NO_KEY: tuple[Any, list[str]] = (None, [])


class JwtCheck(Authorizer):
    """Lets requests pass whose bearer token is signed by a known key, is meant for `audience`, comes from `issuer`, and
    is valid now, give or take `leeway`.

    Keys are fetched through the mesh from `jwks_cluster`, kept for `ttl`, and fetched anew for a key id that is not
    known, at most once in `refetch`. When that fails, the keys of before serve for `stale` more. In their place there
    may be one key: `public_key` (PEM), or `secret` for HS256 and its like. Answers are 401 without a valid token, 403
    without the `scopes`, 503 while there are no keys.
    """

    budget = "5ms"

    algorithms: tuple[str, ...]             # those that the issuer signs with, and no others
    jwks_cluster: str = ""
    jwks_path: str = "/.well-known/jwks.json"
    jwks_host: str = ""
    public_key: str = ""
    secret: Secret = ""
    audience: tuple[str, ...] = ()
    issuer: str = ""
    leeway: Duration = 30.0
    required: tuple[str, ...] = ("exp",)    # claims without which a token is none
    scopes: tuple[str, ...] = ()
    header: str = "authorization"
    scheme: str = "Bearer"
    claims: dict[str, str] = {}             # claim: the header that carries it upstream
    labels: dict[str, str] = {}             # claim: the label that carries it
    forward: bool = True                    # whether the upstream sees the token
    ttl: Duration = 600.0
    refetch: Duration = 10.0
    stale: Duration = 3600.0
    fetch_timeout: Duration = 2.0

    def start(self) -> None:
        allowed = SYMMETRIC if self.secret else ASYMMETRIC
        if not self.algorithms or not set(self.algorithms) <= set(allowed):
            raise ValueError(f"algorithms: {', '.join(self.algorithms) or 'none at all'}; allowed with "
                             f"{'secret' if self.secret else 'public keys'}: {', '.join(allowed)}")
        if sum(map(bool, (self.jwks_cluster, self.public_key, self.secret))) != 1:
            raise ValueError("exactly one of jwks_cluster, public_key and secret is needed")
        # A key is for algorithms of its kind only: a token cannot choose how it is checked.
        self.keys: dict[str | None, tuple[Any, list[str]]] = {}
        self.fixed: tuple[Any, list[str]] | None = None
        if self.secret:
            self.fixed = self.secret.encode(), list(self.algorithms)
        elif self.public_key:
            if len({KINDS[name[:2]] for name in self.algorithms}) > 1:
                raise ValueError("algorithms: one public_key is for algorithms of one kind (RSA, EC or OKP)")
            self.fixed = (jwt.get_algorithm_by_name(self.algorithms[0]).prepare_key(self.public_key),
                          list(self.algorithms))
        self.fresh_until = self.usable_until = self.next_fetch = 0.0
        self.is_fetching = False
        self.waiting: list[Signal[None]] = []
        self.prefix = f"{self.scheme} ".lower() if self.scheme else ""

    async def allow(self, request: Request) -> bool | Response:
        # Of two tokens the upstream might believe the one that is not checked here.
        given = request.headers.get_all(self.header)
        token = given[0] if len(given) == 1 else ""
        for name in self.claims.values():
            request.headers.discard(name)       # a client does not say who it is by itself
        if self.prefix:
            token = token[len(self.prefix):].strip() if token.lower().startswith(self.prefix) else ""
        if not token:
            return self.refused("")
        if len(token) > LONGEST:
            return self.refused("the token is too long")
        try:
            kid = jwt.get_unverified_header(token).get("kid")
        except WRONG as error:
            return self.refused(str(error))
        key, algorithms = self.fixed if self.fixed is not None else await self.key_for(kid)
        if key is None:
            if monotonic() >= self.usable_until:
                return Response(503, text="there are no keys to check tokens with\n", headers={"retry-after": "1"})
            return self.refused("the key is not known")
        try:
            found = self.claims_of(token, key, algorithms)
            self.pass_on(request, found)
        except WRONG as error:
            return self.refused(str(error))
        if self.scopes and not set(self.scopes) <= scopes_of(found):
            return Response(403, text="the token does not allow this\n", headers={
                "www-authenticate": f'{self.scheme or "Bearer"} error="insufficient_scope", '
                                    f'scope="{" ".join(self.scopes)}"'})
        return True

    def claims_of(self, token: str, key: Any, algorithms: list[str]) -> dict[str, Any]:
        claims: dict[str, Any] = jwt.decode(
            token, key, algorithms=algorithms, audience=list(self.audience) or None,
            issuer=self.issuer or None, leeway=self.leeway,
            options={"require": list(self.required), "verify_aud": bool(self.audience)})
        return claims

    def pass_on(self, request: Request, claims: dict[str, Any]) -> None:
        for claim, header in self.claims.items():
            value = claims.get(claim)
            if isinstance(value, str | int | float):
                request.headers[header] = str(value)
        for claim, label in self.labels.items():
            if isinstance(claims.get(claim), str | int):
                request.labels[label] = str(claims[claim])
        if not self.forward:
            request.headers.discard(self.header)

    def refused(self, why: str) -> Response:
        # Only words of our own and PyJWT's get here, and quotes would end the parameter.
        told = "" if not why else ' error="invalid_token", error_description="{}"'.format(
            "".join(c for c in why if c.isascii() and c.isprintable() and c not in '"\\')[:200])
        return Response(401, text="a valid token is needed\n",
                        headers={"www-authenticate": f"{self.scheme or 'Bearer'}{told}"})

    async def key_for(self, kid: str | None) -> tuple[Any, list[str]]:
        """The key with that id, fetched if need be, and what it is for; None when there is none."""
        for _ in range(PATIENCE):
            now = monotonic()
            is_known = kid in self.keys and now < self.usable_until
            if is_known and now < self.fresh_until:
                break
            if now >= self.next_fetch and not self.is_fetching:
                await self.fetch()
            elif self.is_fetching and not is_known:
                # One request fetches, the others wait for it.
                signal: Signal[None] = Signal()
                self.waiting.append(signal)
                await signal
            else:
                break
        return self.keys.get(kid, NO_KEY) if monotonic() < self.usable_until else NO_KEY

    async def fetch(self) -> None:
        self.is_fetching = True
        self.next_fetch = monotonic() + self.refetch
        try:
            reply = await self.mesh.get(self.jwks_cluster, self.jwks_path, timeout=self.fetch_timeout,
                                        headers={"host": self.jwks_host} if self.jwks_host else {})
            if reply.status != 200:
                raise ValueError(f"status {reply.status}")
            keys = keys_of(reply.json(), self.algorithms)
            self.keys = keys
            self.fresh_until = monotonic() + self.ttl
            self.usable_until = self.fresh_until + self.stale
        except Exception as error:
            self.next_fetch = monotonic() + min(self.refetch, AGAIN)
            self.log.warning(f"keys of {self.jwks_cluster}{self.jwks_path} cannot be had: {error}")
        except BaseException:
            # The client of this request has left: one of those who wait fetches.
            self.next_fetch = 0.0
            raise
        finally:
            self.is_fetching = False
            waiting, self.waiting = self.waiting, []
            for signal in waiting:
                if signal.is_waited_for:
                    signal.finish(None)


def keys_of(told: Any, allowed: tuple[str, ...]) -> dict[str | None, tuple[Any, list[str]]]:
    """Keys by their id, each with the algorithms that it is for. The only one of a set also serves tokens that name
    none. Raises ValueError."""
    listed = told["keys"]
    if not isinstance(listed, list) or len(listed) > MOST_KEYS:
        raise ValueError(f"no list of at most {MOST_KEYS} keys")
    found: dict[str | None, tuple[Any, list[str]]] = {}
    for each in listed:
        if not isinstance(each, dict) or each.get("use", "sig") != "sig" or each.get("kty") not in KINDS.values():
            continue
        algorithms = [name for name in allowed
                      if KINDS[name[:2]] == each["kty"] and name == each.get("alg", name)]
        try:
            key = jwt.PyJWK(each, algorithms[0]).key if algorithms else None
        except jwt.PyJWTError:
            continue        # of a kind that PyJWT does not know; the others serve
        if key is not None:
            found[each.get("kid")] = key, algorithms
    if not found:
        raise ValueError(f"no key for {', '.join(allowed)} is among {len(listed)}")
    if len(found) == 1:
        found[None] = next(iter(found.values()))
    return found


def scopes_of(claims: dict[str, Any]) -> set[str]:
    """What a token allows: `scope` as OAuth has it, `scp` as some others do."""
    told = claims.get("scope", claims.get("scp", ""))
    return set(told.split()) if isinstance(told, str) else {word for word in told if isinstance(word, str)} if (
        isinstance(told, list)) else set()
