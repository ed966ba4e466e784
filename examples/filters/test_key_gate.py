"""The door opens to those with a key."""

import pytest
from filtering import make, run
from key_gate import KeyGate

KEYS = {"a": "s3cret", "b": "other"}


@pytest.mark.parametrize(("key", "name"), [("s3cret", "a"), ("other", "b")])
def test_who_has_a_key_gets_in_under_its_name(key, name):
    got = run(make(KeyGate, keys=KEYS), headers={"X-Api-Key": key})
    assert got.status == 200 and got.labels["tenant"] == name
    assert got.line == "GET / HTTP/1.1" and "x-api-key" not in got.request.headers


@pytest.mark.parametrize("headers", [{}, {"x-api-key": "s3cre"}, {"x-api-key": ""}, {"authorization": "s3cret"}])
def test_who_has_none_does_not(headers):
    got = run(make(KeyGate, keys=KEYS), headers=headers)
    assert got.status == 401 and got.headers["www-authenticate"] == "ApiKey" and not got.upstream


def test_it_fails_closed():
    assert KeyGate.security
