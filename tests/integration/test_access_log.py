"""The lines of the access log, whatever clients and origins put into them."""

import json
from typing import Any

import pytest
from integration.mesh import Mesh, app, http_listener
from integration.peer import Message


def configure(mesh: Mesh, log: dict[str, Any], **listener: Any) -> None:
    """Everything goes to an origin that is kept waiting, but /own, which the proxy answers itself."""
    web = http_listener(**listener)
    web["routes"].insert(0, {"match": {"path": "/own"}, "response": {"status": 403}})
    mesh.configure({"listeners": [web], "clusters": [app(mesh.origin())], "access_log": log})


def own(mesh: Mesh, *fields: bytes) -> Message:
    client = mesh.connect()
    client.send(b"GET /own HTTP/1.1\r\nhost: x\r\n", *(field + b"\r\n" for field in fields), b"\r\n")
    return client.read_answer()


HOSTILE = b'a"b\\c\t\xff\xe2\x80\xa8%REQ(X)% \x80"}'


def test_nothing_in_a_value_ends_a_json_string(mesh: Mesh) -> None:
    configure(mesh, {"format": "json", "fields": {"x": "%REQ(X)%", "code": "%RESPONSE_CODE%"}})
    assert own(mesh, b"x: " + HOSTILE).status == 403
    assert json.loads(mesh.logged()[0]) == {"x": HOSTILE.decode("latin-1"), "code": 403}


def test_nothing_in_a_value_ends_a_field_of_text(mesh: Mesh) -> None:
    configure(mesh, {"format": "text", "template": '"%REQ(X)%" %RESPONSE_CODE%'})
    own(mesh, b"x: " + HOSTILE)
    assert mesh.logged() == [r'"a\"b\\c\x09\xff\xe2\x80\xa8%REQ(X)% \x80\"}" 403']


@pytest.mark.parametrize("count", [1, 3, 7])
def test_a_line_with_long_values_is_still_an_object(mesh: Mesh, count: int) -> None:
    """Each byte of these takes six in the line: what finds no room is null, and no value is longer than 8 KiB."""
    names = [f"h{n}" for n in range(7)]
    configure(mesh, {"format": "json", "fields": {**{name: f"%REQ({name})%" for name in names}, "end": "yes",
                                                  "code": "%RESPONSE_CODE%"}})
    own(mesh, *(name.encode() + b": " + b"\xff" * 8_500 for name in names[:count]))
    line = json.loads(mesh.logged()[0])
    assert list(line) == [*names, "end", "code"]
    written = [line[name] for name in names if line[name] is not None]
    assert written == ["\xff" * 8192] * min(count, 2)
    assert (line["end"], line["code"]) == ("yes", 403 if count < 2 else None)


def test_keys_and_constant_text_are_written_whole(mesh: Mesh) -> None:
    fields = {f"k{n:03}" * 32: "v" * 300 for n in range(100)}
    configure(mesh, {"format": "json", "fields": {**fields, "code": "%RESPONSE_CODE%"}})
    own(mesh)
    assert json.loads(mesh.logged()[0]) == {**fields, "code": 403}


def test_the_largest_head_is_logged(mesh: Mesh) -> None:
    """With what the proxy adds, it is longer than a client's may be, and has more fields."""
    configure(mesh, {"format": "text", "template": "%REQ(:PATH)% %REQ(LAST)%"},
              limits={"head": "63KiB", "header_count": 240})
    few = b"GET /own HTTP/1.1\r\nhost: x\r\n" + b"\r\n"
    many = [b"h: 1"] * 238
    own(mesh, *many, b"last: fields")
    filler = [b"f: " + b"f" * 1000] * 63
    size = len(few) + sum(len(field) + 2 for field in (*filler, b"last: bytes"))
    own(mesh, *filler, b"p: " + b"p" * (63 * 1024 - size - 5), b"last: bytes")
    assert mesh.logged(2) == ["/own fields", "/own bytes"]
