"""The door opens to those with a key."""

import pytest
from key_gate import KeyGate

KEYS = {"a": "s3cret", "b": "other"}


@pytest.mark.parametrize(("key", "name"), [("s3cret", "a"), ("other", "b")])
def test_who_has_a_key_gets_in_under_its_name(filter_kit, key, name):
    reply = filter_kit(KeyGate(keys=KEYS)).get("/", headers={"X-Api-Key": key})
    assert reply.status == 200 and reply.labels["tenant"] == name
    assert "x-api-key" not in reply.upstream.headers


@pytest.mark.parametrize("headers", [{}, {"x-api-key": "s3cre"}, {"x-api-key": ""}, {"authorization": "s3cret"}])
def test_who_has_none_does_not(filter_kit, headers):
    reply = filter_kit(KeyGate(keys=KEYS)).get("/", headers=headers)
    assert reply.status == 401 and reply.headers["www-authenticate"] == "ApiKey" and reply.upstream is None


def test_it_fails_closed(filter_kit):
    gate = KeyGate(keys=KEYS)
    kit = filter_kit(gate, raises=False)
    gate.keys = None                        # broken, however that came about
    assert kit.get("/", headers={"x-api-key": "s3cret"}).status == 503
