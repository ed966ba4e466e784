"""Built-in filters by their names, in a real worker: that they load there, and do what they are for."""

import gzip
import json
from base64 import b64encode
from hashlib import scrypt
from pathlib import Path

import jwt

from fastmesh.filters.builtin import NAMES
from fastmesh.testing import Proxy

SECRET = "a secret of thirty-two bytes or more"
HASH = "scrypt:16:8:1:{}:{}".format(
    b64encode(b"salt").decode(), b64encode(scrypt(b"sesame", salt=b"salt", n=16, r=8, p=1, dklen=32)).decode())


def test_those_that_change_what_passes(tmp_path: Path) -> None:
    with Proxy([
            {"use": "request-id", "header": "x-trace"},
            {"use": "cors", "origins": ["https://a.example"]},
            {"use": "header-rewrite", "set_response": {"x-from": "{peer}", "x-id": "{id}"}},
            {"use": "compress", "min_size": "1B"},
            {"use": "redact"},
            {"use": "json-log", "path": str(tmp_path / "log"), "fields": ["path", "status", "id"]}]) as proxy:
        proxy.origin.answers(200, body="write to anna@example.com " * 20, headers={"content-type": "text/plain"})
        got = proxy.get("/a?b", headers={"origin": "https://a.example", "accept-encoding": "gzip"})
        assert gzip.decompress(got.body) == b"write to [redacted] " * 20
        assert got.headers["access-control-allow-origin"] == "https://a.example"
        assert got.headers["x-from"] == "127.0.0.1" and got.headers["vary"] == "Accept-Encoding, Origin"
        asked = proxy.origin.requests[-1]
        assert asked.headers["x-trace"] == got.headers["x-trace"] == got.headers["x-id"]
        assert asked.headers["accept-encoding"] == "identity"
        assert proxy.events() == []
    # The proxy has ended, so all is written.
    line, = (json.loads(line) for line in (tmp_path / "log").read_text().splitlines())
    assert line == {"path": "/a", "status": 200, "id": got.headers["x-id"]}


def test_those_that_let_pass_or_not() -> None:
    with Proxy([
            {"use": "ip-list", "allow_from": ["127.0.0.0/8"]},
            {"use": "api-key", "keys": {"a": "s3cret"}},
            {"use": "basic-auth", "users": {"anna": HASH}},
            {"use": "jwt", "algorithms": ["HS256"], "secret": SECRET, "header": "x-token", "scheme": ""},
            {"use": "body-limit", "limit": "10B"},
            {"use": "tenant-limit", "by": "label:client", "rate": "0.01", "burst": "2"}]) as proxy:
        token = jwt.encode({"exp": 2**40}, SECRET, algorithm="HS256")
        good = {"x-api-key": "s3cret", "authorization": "Basic " + b64encode(b"anna:sesame").decode(), "x-token": token}
        assert proxy.get("/", headers=good).status == 200
        for missing in good:
            assert proxy.get("/", headers={name: good[name] for name in good if name != missing}).status == 401
        assert proxy.post("/", headers=good, chunks=[b"12345678901"]).status in (413, 429)
        assert [proxy.get("/", headers=good).status for _ in range(2)][-1] == 429
        assert len(proxy.origin.requests) <= 2 and proxy.events() == []


def test_those_that_choose_and_count() -> None:
    with Proxy([
            {"use": "canary", "to": "origin", "share": "0%"}, {"use": "retry-safe"},
            {"use": "token-budget", "name": "budget", "per_answer": "2"}]) as proxy:
        event = b'data: {"choices":[{"delta":{"content":"w"}}]}\n\n'
        proxy.origin.answers(200, chunks=[event] * 5, headers={"content-type": "text/event-stream"})
        got = proxy.get("/", headers={"x-tenant": "a"})
        assert got.body.startswith(event * 2) and got.body.endswith(b"data: [DONE]\n\n") and got.body.count(event) == 2
        assert got.headers["set-cookie"].startswith("fm-canary=")
        assert proxy.metric("fastmesh_filter_budget_tokens_total", tenant="a") == 2
        assert proxy.metric("fastmesh_filter_budget_cut_total", tenant="a") == 1


def test_connections() -> None:
    with Proxy("connection-ip-list", at="listener", deny_from=["10.0.0.0/8"]) as proxy:
        assert proxy.get("/").status == 200


def test_no_name_was_forgotten() -> None:
    tried = Path(__file__).read_text()
    assert [name for name in NAMES if f'"{name}"' not in tried] == []
