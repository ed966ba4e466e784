"""What makes two requests one key, and what does not; and that nobody gets another key by writing the same in another
way."""

from collections.abc import Iterator
from typing import Any

import pytest
from effort import tries
from hypothesis import given, settings
from hypothesis import strategies as st

from fastmesh._core.mem import shared
from probes.limit_probe import MISSING, ODD, WHOLE, Limits
from probes.wire import limit, listener, pack, snapshot


@pytest.fixture(autouse=True)
def own_memory() -> Iterator[None]:
    shared.detach()
    yield
    shared.detach()


def keys_of(key: list[str], *requests: bytes | tuple[bytes, dict[str, Any]]) -> list[tuple[int, bytes]]:
    made = Limits(pack(snapshot([listener()], limits=[limit(key=key)])), shared.segment())
    found = []
    for each in requests:
        head, about = (each, {}) if isinstance(each, bytes) else each
        made.request(head, **about)
        found.append(made.key())
    return found


def head(*fields: str, line: str = "GET / HTTP/1.1", host: str = "x") -> bytes:
    return "\r\n".join([line, f"host: {host}", *fields, "", ""]).encode("latin-1")


def get(target: str) -> bytes:
    return head(line=f"GET {target} HTTP/1.1")


def by(client: str) -> tuple[bytes, dict[str, Any]]:
    return head(), {"client": client.encode()}


def label(**words: str) -> tuple[bytes, dict[str, Any]]:
    packed = b"".join(bytes([len(name)]) + name.encode() + len(value).to_bytes(2, "little") + value.encode()
                      for name, value in words.items())
    return head(), {"labels": packed}


def routed(name: str) -> tuple[bytes, dict[str, Any]]:
    return head(), {"route": name.encode()}


SAME = [
    (["client_address"], by("10.0.0.1:1"), by("10.0.0.1:65535")),
    (["client_address"], by("unix:/run/a"), by("unix:/run/b")),
    (["client_network"], by("[2001:db8::1]:1"), by("[2001:db8::ffff:0:1]:1")),
    (["host"], head(host="a.test"), head(host="A.TEST.:8080")),
    (["host"], head(host="[::1]"), head(host="[::1]:80")),
    (["method"], head(), head(line="get / HTTP/1.1")),
    (["path"], get("/a/b"), get("/a//./b?x=1")),
    (["path"], get("/%61"), get("/a")),
    (["header x-a"], head("x-a: 1"), head("X-A:  1 ")),
    (["header x-a"], head("x-a: 1"), head("x_a: 1")),
    (["header x-a"], head("x-a: 1"), head("x-a: 1", "x-a: 1")),
    (["header x-a"], head("x-a: 1"), head("x-a: 1", "x-b: 2")),
    (["cookie a"], head("cookie: a=1"), head("cookie: b=2; a=1;c=3")),
    (["cookie a"], head("cookie: a=1"), head('cookie: a="1"')),
    (["cookie a"], head("cookie: a=1"), head("cookie: b=2", "Cookie:   a =  1 ")),
    (["cookie a"], head("cookie: a=1=2"), head("cookie: x; a=1=2; A=9")),
    (["query a"], get("/?a=b"), get("/x?c=d&a=b")),
    (["query a"], get("/?a=b"), get("/?%61=%62")),
    (["query a"], get("/?a=b%20c"), get("/?a=b+c&a=b%20c")),
    (["query a"], get("/?a"), get("/?a=")),
    (["label t"], label(t="1"), label(s="2", t="1")),
    (["route"], routed("api"), routed("api")),
]
DIFFERENT = [
    (["client_address"], by("10.0.0.1:1"), by("10.0.0.2:1")),
    (["client_address"], by("[2001:db8::1]:1"), by("[2001:db8::2]:1")),
    (["client_network"], by("[2001:db8::1]:1"), by("[2001:db8:0:1::1]:1")),
    (["client_network"], by("10.0.0.1:1"), by("10.0.0.2:1")),
    (["host"], head(host="a.test"), head(host="b.test")),
    (["method"], head(), head(line="PUT / HTTP/1.1")),
    (["path"], get("/a"), get("/A")),
    (["header x-a"], head("x-a: 1"), head("x-a: 01")),
    (["header x-a"], head("x-a: "), head()),
    (["header x-a", "header x-b"], head("x-a: 1", "x-b: 23"), head("x-a: 12", "x-b: 3")),
    (["header x-a", "header x-b"], head("x-a: 1"), head("x-b: 1")),
    (["cookie a"], head("cookie: a=1"), head("cookie: a=2")),
    (["cookie a"], head("cookie: a=1"), head("cookie: A=1")),
    (["query a"], get("/?a=b"), get("/?a=%62b")),
    (["query a"], get("/?a="), get("/?ab=")),
    (["label t"], label(t="1"), label(t="2")),
    (["label t"], label(t="1"), label(s="1")),
    (["route"], routed("api"), routed("app")),
]


@pytest.mark.parametrize(("key", "one", "other"), SAME)
def test_one_key(key: list[str], one: Any, other: Any) -> None:
    first, second = keys_of(key, one, other)
    assert first[0] == WHOLE and first == second


@pytest.mark.parametrize(("key", "one", "other"), DIFFERENT)
def test_two_keys(key: list[str], one: Any, other: Any) -> None:
    first, second = keys_of(key, one, other)
    assert first[1] != second[1] and ODD not in (first[0], second[0])


@pytest.mark.parametrize(("key", "request_"), [
    (["header x-a"], head()), (["header x-a"], head("connection: x-a", "x-a: 1")), (["cookie a"], head()),
    (["cookie a"], head("cookie: b=1")), (["query a"], get("/")), (["query a"], get("/?b=1")), (["label t"], head()),
    (["route"], head()), (["client_address", "header x-a"], head()),
])
def test_a_value_is_missing(key: list[str], request_: bytes) -> None:
    (one,) = keys_of(key, request_)
    assert one[0] == MISSING


@pytest.mark.parametrize(("key", "requests"), [
    (["header x-a"], [head("x-a: 1", "x-a: 2"), head("x-a: 3", "x_a: 4"), head("x-a: " + "y" * 4097)]),
    (["cookie a"], [head("cookie: a=1; a=2"), head("cookie: a=1", "cookie: a=2"), head('cookie: a="\\061"'),
                    head("cookie: a=" + "y" * 4097)]),
    (["query a"], [get("/?a=1&a=2"), get("/?a=1&%61=2"), get("/?a=" + "y" * 4097)]),
    (["path"], [get("/a%2Fb"), get("/a\\b"), get("/a;b/c"), get("/" + "y" * 4096)]),
    (["host"], [head(host="y" * 256)]),
    (["method"], [head(line="M" * 4097 + " / HTTP/1.1")]),
])
def test_what_can_be_read_in_several_ways_is_one_key_for_all(key: list[str], requests: list[bytes]) -> None:
    found = keys_of(key, *requests)
    assert {how for how, _ in found} == {ODD} and len({digest for _, digest in found}) == 1


def test_values_of_the_largest_size_count_whole() -> None:
    one, other = keys_of(["header x-a", "query a", "cookie c", "path"], *(
        head("x-a: " + "h" * 4096, "cookie: c=" + "c" * 4096,
             line=f"GET /{'p' * 4095}?a={'q' * 4095}{last} HTTP/1.1") for last in "xy"))
    assert one[0] == other[0] == WHOLE and one != other


def test_all_share_a_limit_without_a_key() -> None:
    assert len(set(keys_of([], head(), get("/x"), by("10.9.9.9:1")))) == 1


def test_parts_of_another_kind_make_other_keys() -> None:
    found = [keys_of(key, head("a: 1", "cookie: a=1", line="GET /?a=1 HTTP/1.1"))[0][1]
             for key in (["header a"], ["cookie a"], ["query a"])]
    assert len(set(found)) == 3


def test_digests_depend_on_the_seed_of_the_memory() -> None:
    one = keys_of(["header x-a"], head("x-a: 1"))
    shared.detach()
    assert keys_of(["header x-a"], head("x-a: 1")) != one


TEXT = st.text(st.characters(min_codepoint=33, max_codepoint=126, exclude_characters='&=+%#;,"\\ '), max_size=8)


@settings(max_examples=tries(200), deadline=None)
@given(st.lists(st.tuples(TEXT, TEXT), max_size=6), st.data())
def test_escapes_of_a_query_change_no_key(pairs: list[tuple[str, str]], data: st.DataObject) -> None:
    def written(text: str) -> str:
        return "".join(f"%{ord(c):02x}" if data.draw(st.booleans()) else c for c in text)

    plain = "&".join(f"{name}={value}" for name, value in [*pairs, ("k", "v")])
    other = "&".join(f"{written(name)}={written(value)}" for name, value in [*pairs, ("k", "v")])
    one, two = keys_of(["query k"], get(f"/?{plain}"), get(f"/?{other}"))
    assert one == two
    assert one[0] == (WHOLE if {value for name, value in [*pairs, ("k", "v")] if name == "k"} == {"v"} else ODD)


SOUP = st.text(st.sampled_from("ab=;&%+\"\\ ,/.?16") | st.characters(min_codepoint=33, max_codepoint=255,
                                                                      exclude_characters="\x7f"), max_size=40)


@settings(max_examples=tries(300), deadline=None)
@given(st.lists(SOUP, max_size=3), st.lists(SOUP, max_size=3), SOUP)
def test_any_text_makes_a_key(cookies: list[str], values: list[str], query: str) -> None:
    """Whatever stands there: one of three answers, the same each time."""
    target = "/?" + "".join(c for c in query if c not in "# " and ord(c) < 128)
    request = head(*(f"cookie: {text}" for text in cookies), *(f"x-a: {text}" for text in values),
                   line=f"GET {target} HTTP/1.1")
    for key in (["cookie a"], ["header x-a"], ["query a"], ["cookie b", "query b", "header x-a", "path"]):
        first, second = keys_of(key, request, request)
        assert first == second and first[0] in (WHOLE, MISSING, ODD)
