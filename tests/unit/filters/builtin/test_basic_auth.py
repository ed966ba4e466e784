"""Passwords are checked, results remembered, and neither costs without bound."""

import subprocess
import sys
from base64 import b64encode

import pytest
from filtering import make, run

from fastmesh.filters.builtin import basic_auth
from fastmesh.filters.builtin.basic_auth import BasicAuth, hash_password, parsed

CHEAP = 2 ** 4          # the cost of hashes here: the tests do not wait
USERS = {"anna": hash_password("open sesame", CHEAP), "bob": hash_password("pa:ss", CHEAP)}


def said(user: str, password: str) -> dict[str, str]:
    return {"authorization": "Basic " + b64encode(f"{user}:{password}".encode()).decode()}


@pytest.fixture
def checks(monkeypatch):
    """How often a password was hashed."""
    real, seen = basic_auth.scrypt, []
    monkeypatch.setattr(basic_auth, "scrypt", lambda *a, **k: seen.append(1) or real(*a, **k))
    return seen


def test_the_right_password_passes_and_stays_here():
    gate = make(BasicAuth, users=USERS)
    got = run(gate, headers=said("anna", "open sesame"))
    assert got.status == 200 and got.labels["user"] == "anna" and "authorization" not in got.request.headers
    assert run(gate, headers=said("bob", "pa:ss")).status == 200
    forwarding = make(BasicAuth, users=USERS, forward=True)
    assert "authorization" in run(forwarding, headers=said("anna", "open sesame")).request.headers


@pytest.mark.parametrize("headers", [
    {}, said("anna", "open"), said("anna", ""), said("nobody", "open sesame"), said("", ""), said("anna", "x" * 1000),
    {"authorization": "Basic"}, {"authorization": "Basic !!"}, {"authorization": "Basic YW5uYQ=="},
    {"authorization": "Basic /w=="}, {"authorization": "Bearer abc"},
    [*said("anna", "open sesame").items(), *said("anna", "other").items()]])
def test_nothing_else_does(headers):
    got = run(make(BasicAuth, users=USERS, realm='a "b"'), headers=headers)
    assert got.status == 401 and not got.upstream
    assert got.headers["www-authenticate"] == 'Basic realm="a b", charset="UTF-8"'


def test_good_and_bad_results_are_remembered(checks):
    gate = make(BasicAuth, users=USERS)
    for _ in range(3):
        assert run(gate, headers=said("anna", "open sesame")).status == 200
        assert run(gate, headers=said("anna", "wrong")).status == 401
    assert len(checks) == 2


def test_so_many_are_remembered_and_the_oldest_is_forgotten(checks):
    gate = make(BasicAuth, users=USERS, remembered=2, checks_per_second=1000.0)
    for word in ("1", "2", "3", "1"):
        assert run(gate, headers=said("anna", word)).status == 401
    assert len(checks) == 4 and len(gate.bad) == 2


def test_checks_are_limited_and_those_who_are_remembered_do_not_notice(monkeypatch, checks):
    now = [100.0]
    monkeypatch.setattr(basic_auth, "monotonic", lambda: now[0])
    gate = make(BasicAuth, users=USERS, checks_per_second=2.0)
    assert run(gate, headers=said("anna", "open sesame")).status == 200
    statuses = [run(gate, headers=said("anna", str(n))).status for n in range(5)]
    assert statuses == [401, 503, 503, 503, 503] and len(checks) == 2
    assert run(gate, headers=said("anna", "open sesame")).status == 200
    now[0] += 0.5
    assert run(gate, headers=said("anna", "more")).status == 401


def test_an_unknown_name_is_as_much_work_as_a_known_one(checks):
    run(make(BasicAuth, users=USERS), headers=said("nobody", "x"))
    assert len(checks) == 1


@pytest.mark.parametrize("text", [
    "", "geheim", "scrypt:16:8:1:AAAA", "scrypt:17:8:1:AAAA:AAAA", "md5:16:8:1:AAAA:AAAA"])
def test_what_is_no_hash(text):
    with pytest.raises(ValueError, match="is no hash"):
        make(BasicAuth, users={"anna": text})


def test_a_hash_that_would_take_too_long():
    key = USERS["anna"].rpartition(":")[2]
    with pytest.raises(ValueError, match="too much memory or time"):
        make(BasicAuth, users={"anna": f"scrypt:{2 ** 20}:8:1:AAAA:{key}"})


def test_a_hash_is_made_on_the_command_line():
    # getpass asks the terminal; without one it reads a line, and says that it would be seen.
    done = subprocess.run([sys.executable, "-W", "ignore", "-m", "fastmesh.filters.builtin.basic_auth"],
                          input="geheim\n", capture_output=True, text=True, check=True, timeout=60,
                          start_new_session=True)
    assert parsed(done.stdout.split()[-1], "x")[0] == basic_auth.COST
    assert run(make(BasicAuth, users={"a": done.stdout.split()[-1]}), headers=said("a", "geheim")).status == 200
