"""Tokens: who signed them, for whom, and until when."""

import json
import time
from base64 import urlsafe_b64encode

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from filtering import FakeMesh, Reply, Stand, make, run

from fastmesh import Signal
from fastmesh.filters.builtin import jwt_check
from fastmesh.filters.builtin.jwt_check import JwtCheck

RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
OTHER = rsa.generate_private_key(public_exponent=65537, key_size=2048)
EC = ec.generate_private_key(ec.SECP256R1())
ED = ed25519.Ed25519PrivateKey.generate()
LONG_AGO, FAR = 946684800, 4102444800      # 2000 and 2100: tokens are made when tests are collected
SHARED = "a secret of thirty-two bytes or more"


def jwk(algorithm, key, kid, **more):
    told = jwt.get_algorithm_by_name(algorithm).to_jwk(key.public_key())
    return {**json.loads(told), "kid": kid, "alg": algorithm, "use": "sig", **more}


KEYS = {"keys": [jwk("RS256", RSA, "r"), jwk("ES256", EC, "e"), jwk("EdDSA", ED, "d")]}


def token(key=RSA, algorithm="RS256", kid="r", **claims):
    told = {"sub": "anna", "aud": "shop", "iss": "idp", "exp": FAR, **claims}
    return jwt.encode({name: value for name, value in told.items() if value is not None}, key, algorithm=algorithm,
                      headers={"kid": kid} if kid else {})


def gate(*replies, **settings):
    return make(JwtCheck, mesh=FakeMesh(*(replies or (Reply(200, KEYS),))), **{
        "algorithms": ("RS256", "ES256", "EdDSA"), "jwks_cluster": "idp", "audience": ("shop",), "issuer": "idp",
        **settings})


def asked(check, text, **headers):
    return run(check, headers={"authorization": f"Bearer {text}", **headers})


def test_a_good_token_passes_and_says_who_it_is():
    check = gate(claims={"sub": "x-user", "age": "x-age"}, labels={"sub": "user"})
    got = asked(check, token(age=42), **{"x-user": "root"})
    assert got.status == 200 and got.labels["user"] == "anna"
    assert got.request.headers.get_all("x-user") == ["anna"] and got.request.headers["x-age"] == "42"
    assert "authorization" in got.request.headers
    assert "authorization" not in asked(gate(forward=False), token()).request.headers


@pytest.mark.parametrize(("key", "algorithm", "kid"), [(RSA, "RS256", "r"), (EC, "ES256", "e"), (ED, "EdDSA", "d")])
def test_algorithms(key, algorithm, kid):
    assert asked(gate(), token(key, algorithm, kid)).status == 200
    others = tuple({"RS256", "ES256", "EdDSA"} - {algorithm})
    assert asked(gate(algorithms=others), token(key, algorithm, kid)).status == 401


def unsigned(header, claims=None):
    pieces = (json.dumps(part).encode() for part in (header, claims or {"sub": "root", "exp": 2**40}))
    return b".".join(urlsafe_b64encode(piece).rstrip(b"=") for piece in pieces).decode() + "."


PUBLIC = RSA.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


@pytest.mark.parametrize("bad", [
    "", "x", "a.b.c", "....", token() + "x", token()[:-8], token(OTHER), token(EC, "ES256", "r"),
    token(RSA, "RS256", "e"),
    token(RSA, "RS512"), token(exp=LONG_AGO), token(exp=None), token(nbf=FAR),
    token(aud="other"), token(aud=None), token(iss="other"), token(iss=None), token(kid="unknown"), token(kid=None),
    token(SHARED, "HS256"), unsigned({"alg": "none"}), unsigned({"alg": "none", "kid": "r"}),
    unsigned({"alg": "RS256", "kid": "r"}), unsigned({"alg": "RS256", "kid": ["r"]}),
    urlsafe_b64encode(b"[" * 9000).decode() + ".a.b", "x" * 20_000, token(sub="a\r\nx-admin: 1")],
    ids=lambda text: f"{len(text)}")
def test_any_other_does_not(bad):
    got = asked(gate(claims={"sub": "x-user"}), bad)
    assert got.status == 401 and not got.upstream
    assert got.headers["www-authenticate"].startswith("Bearer")


def test_without_a_token_or_with_two():
    assert run(gate()).headers["www-authenticate"] == "Bearer"
    assert run(gate(), headers={"authorization": "Basic abc"}).status == 401
    assert run(gate(), headers=[("authorization", f"Bearer {token()}"), ("authorization", "Bearer x")]).status == 401


def test_clocks_may_differ_a_little():
    now = int(time.time())
    assert asked(gate(leeway=3600.0), token(exp=now - 1800, nbf=now + 1800)).status == 200
    assert asked(gate(leeway=900.0), token(exp=now - 1800)).status == 401
    assert asked(gate(leeway=900.0), token(nbf=now + 1800)).status == 401


@pytest.mark.parametrize("claims", [{"scope": "read write"}, {"scp": ["write", "read"]}, {"scp": "read"}])
def test_scopes(claims):
    assert asked(gate(scopes=("read",)), token(**claims)).status == 200


@pytest.mark.parametrize("claims", [{}, {"scope": "reader"}, {"scope": 7}, {"scp": [7]}])
def test_without_a_scope(claims):
    got = asked(gate(scopes=("read",)), token(**claims))
    assert got.status == 403 and 'scope="read"' in got.headers["www-authenticate"]


def test_a_public_key_is_no_secret():
    """The public key, used as a shared one by whoever signs: the old confusion."""
    body = token().split(".")[1]
    forged = jwt.api_jws.PyJWS().encode(body.encode(), SHARED, "HS256")     # any HS256 signature
    check = gate(jwks_cluster="", public_key=PUBLIC, algorithms=("RS256", "PS256"))
    assert asked(check, token()).status == 200
    assert asked(check, forged).status == 401
    with pytest.raises(ValueError, match="algorithms: RS256, HS256; allowed with public keys"):
        gate(jwks_cluster="", public_key=PUBLIC, algorithms=("RS256", "HS256"))


def test_a_shared_secret():
    check = gate(jwks_cluster="", secret=SHARED, algorithms=("HS256",))
    assert asked(check, token(SHARED, "HS256", None)).status == 200
    assert asked(check, token("another secret of thirty-two bytes!", "HS256", None)).status == 401


@pytest.fixture
def now(monkeypatch):
    clock = [1000.0]
    monkeypatch.setattr(jwt_check, "monotonic", lambda: clock[0])
    return clock


def test_keys_are_fetched_once_while_they_are_fresh(now):
    check = gate(ttl=600.0)
    for _ in range(5):
        assert asked(check, token()).status == 200
    assert check.mesh.asked == [("idp", "/.well-known/jwks.json")]
    now[0] += 601
    assert asked(check, token()).status == 200 and len(check.mesh.asked) == 2


def test_an_unknown_key_id_fetches_but_not_often(now):
    rotated = {"keys": [jwk("RS256", OTHER, "new")]}
    check = gate(Reply(200, KEYS), Reply(200, rotated), refetch=10.0)
    assert asked(check, token()).status == 200
    assert asked(check, token(OTHER, kid="new")).status == 401 and len(check.mesh.asked) == 1
    now[0] += 11
    assert asked(check, token(OTHER, kid="new")).status == 200 and len(check.mesh.asked) == 2
    for n in range(20):
        assert asked(check, token(OTHER, kid=f"guess {n}")).status == 401
    assert len(check.mesh.asked) == 2


@pytest.mark.parametrize("failure", [
    Reply(500, {}), Reply(200, {}), Reply(200, {"keys": []}), Reply(200, {"keys": "x"}), Reply(200, b"<html>"),
    Reply(200, {"keys": [{"kty": "oct", "k": "AAAA", "kid": "r"}]}), OSError("refused"),
    Reply(200, {"keys": [jwk("RS256", RSA, "r")] * 65})])
def test_without_keys_nobody_passes_and_soon_it_is_tried_again(now, failure):
    check = gate(failure, Reply(200, KEYS))
    got = asked(check, token())
    assert got.status == 503 and got.headers["retry-after"] == "1" and len(check.log.lines) == 1
    assert asked(check, token()).status == 503 and len(check.mesh.asked) == 1
    now[0] += 1.5
    assert asked(check, token()).status == 200


def test_old_keys_serve_for_a_while_when_fetching_fails(now):
    check = gate(Reply(200, KEYS), Reply(500, {}), ttl=600.0, stale=3600.0)
    assert asked(check, token()).status == 200
    now[0] += 700
    assert asked(check, token()).status == 200
    now[0] += 3600
    assert asked(check, token(exp=int(time.time()) + 9999)).status == 503


def test_one_request_fetches_and_the_others_wait_for_it():
    check = gate()
    check.mesh.hold = answered = Signal()
    with Stand(check).open() as stand:
        clients = [stand.asks(headers={"authorization": f"Bearer {token()}"}) for _ in range(3)]
        assert len(check.mesh.asked) == 1 and len(check.waiting) == 2
        stand.play.expect_no_connect()
        answered.finish(None)
        stand.play.settle()
        for client in clients:
            stand.play.connect().answers()
            client.expect_answer(200)
        assert len(check.mesh.asked) == 1 and stand.play.reports == []


def test_a_client_that_leaves_while_it_fetches_holds_up_nobody():
    check = gate()
    check.mesh.hold = Signal()
    with Stand(check).open() as stand:
        first, second = (stand.asks(headers={"authorization": f"Bearer {token()}"}) for _ in range(2))
        first.resets()
        stand.play.connect().answers()
        second.expect_answer(200)
        assert len(check.mesh.asked) == 2 and stand.play.reports == []


def test_a_lone_key_serves_tokens_that_name_none():
    check = gate(Reply(200, {"keys": [jwk("RS256", RSA, "r")]}))
    assert asked(check, token(kid=None)).status == 200


def test_a_key_that_is_not_for_signatures_is_none():
    check = gate(Reply(200, {"keys": [jwk("RS256", RSA, "r", use="enc"), jwk("ES256", EC, "e")]}))
    assert asked(check, token()).status == 401 and asked(check, token(EC, "ES256", "e")).status == 200


@pytest.mark.parametrize("settings", [
    {"algorithms": ()}, {"algorithms": ("none",)}, {"algorithms": ("RS256", "none")}, {"jwks_cluster": ""},
    {"secret": SHARED}, {"public_key": PUBLIC},
    {"jwks_cluster": "", "public_key": PUBLIC, "algorithms": ("RS256", "ES256")}])
def test_what_is_no_check(settings):
    with pytest.raises(ValueError):
        gate(**settings)
