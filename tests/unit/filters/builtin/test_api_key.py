"""Who has a key passes under its name; nobody else does."""

from hashlib import sha256

import pytest
from filtering import make, run

from fastmesh.filters.builtin.api_key import ApiKey

KEYS = {"billing": "s3cret", "partner": "sha256:" + sha256(b"other").hexdigest()}


@pytest.mark.parametrize(("key", "name"), [("s3cret", "billing"), ("other", "partner")])
def test_a_known_key_passes_and_stays_here(key, name):
    got = run(make(ApiKey, keys=KEYS), headers={"X-API-Key": key})
    assert got.status == 200 and got.labels["client"] == name
    assert "x-api-key" not in got.request.headers


@pytest.mark.parametrize("key", ["", "s3cre", "s3cret x", "S3CRET", KEYS["partner"], "é"])
def test_any_other_does_not(key):
    got = run(make(ApiKey, keys=KEYS), headers={"x-api-key": key} if key else {})
    assert got.status == 401 and not got.upstream and "client" not in got.labels
    assert got.headers["www-authenticate"] == "ApiKey"


def test_two_keys_are_none():
    got = run(make(ApiKey, keys=KEYS), headers=[("x-api-key", "s3cret"), ("x-api-key", "else")])
    assert got.status == 401


def test_a_scheme_before_the_key():
    gate = make(ApiKey, keys=KEYS, header="authorization", scheme="Bearer", label="who", forward=True)
    got = run(gate, headers={"authorization": "bearer s3cret"})
    assert got.status == 200 and got.labels["who"] == "billing"
    assert got.request.headers["authorization"] == "bearer s3cret"
    assert run(gate, headers={"authorization": "s3cret"}).status == 401
    assert run(gate, headers={"authorization": "Basic s3cret"}).headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize(("keys", "why"), [
    ({"a": ""}, "is empty"), ({"a": "x", "b": "x"}, "the same key"), ({"a": "sha256:abc"}, "64 hexadecimal digits"),
    ({"a": "x", "b": "sha256:" + sha256(b"x").hexdigest()}, "the same key")])
def test_what_cannot_be_a_key(keys, why):
    with pytest.raises(ValueError, match=why):
        make(ApiKey, keys=keys)
