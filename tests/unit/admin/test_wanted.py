"""What may be asked of `POST /explain`."""

import pytest

from fastmesh.admin.pages import wanted_of


def test_what_is_asked() -> None:
    assert wanted_of("") == ({}, 30.0)
    assert wanted_of("method=GET&path=/a%2Fb&host=x&listener=web&seconds=1.5&header=X-A:%20b%20") == (
        {"method": "GET", "path": "/a/b", "host": "x", "listener": "web", "header": "X-A", "value": "b"}, 1.5)
    assert wanted_of("header=x-a") == ({"header": "x-a"}, 30.0)
    assert wanted_of("header=x-a:") == ({"header": "x-a", "value": ""}, 30.0)


@pytest.mark.parametrize(("query", "why"), [
    ("paht=/a", "found 'paht', allowed: listener, method, path, host, header and seconds"),
    ("seconds=soon", "found seconds=soon, allowed: a number from 0.1 to 300"),
    ("seconds=nan", "found seconds=nan, allowed: a number from 0.1 to 300"),
    ("seconds=301", "found seconds=301, allowed: a number from 0.1 to 300"),
    ("header=:x", "found a header without a name"),
    ("host=" + "a" * 256, "found a host of 256 characters, allowed: at most 255"),
])
def test_what_cannot_be_asked(query: str, why: str) -> None:
    with pytest.raises(ValueError, match="^" + why.replace("(", r"\(")):
        wanted_of(query)


def test_too_much_is_refused() -> None:
    with pytest.raises(ValueError, match="Max number of fields"):
        wanted_of("&".join(["path=/"] * 17))
