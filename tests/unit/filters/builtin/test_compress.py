"""Answers are smaller, unless they had better be left alone."""

import zlib

import brotli
import pytest
import zstandard
from filtering import make, run

from fastmesh import Response
from fastmesh.filters.builtin.compress import Compress, best

TEXT = b"all work and no play makes jack a dull boy\n" * 200
UNDONE = {
    "gzip": lambda body: zlib.decompress(body, 31),
    "br": brotli.decompress,
    "zstd": lambda body: zstandard.ZstdDecompressor().decompressobj().decompress(body),
}


def answer(content_type="text/html; charset=utf-8", status=200, **headers):
    return Response(status, body=TEXT, content_type=content_type,
                         headers={name.replace("_", "-"): value for name, value in headers.items()})


def pieces(size):
    return [TEXT[at:at + size] for at in range(0, len(TEXT), size)]


@pytest.mark.parametrize("size", [1, 7, 1000, len(TEXT)])
@pytest.mark.parametrize("encoding", UNDONE)
def test_what_comes_out_is_what_went_in(encoding, size):
    got = run(make(Compress, encodings=(encoding,)), headers={"accept-encoding": encoding}, answer=answer(),
              chunks=pieces(size))
    assert got.headers["content-encoding"] == encoding and got.headers["vary"] == "Accept-Encoding"
    assert UNDONE[encoding](got.body) == TEXT and len(got.body) < len(TEXT) / 5


@pytest.mark.parametrize("encoding", UNDONE)
def test_each_event_of_a_stream_can_be_read_at_once(encoding):
    got = run(make(Compress, encodings=(encoding,)), headers={"accept-encoding": encoding},
              answer=answer("text/event-stream"), chunks=[b"data: 1\n\n", b"data: 2\n\n", b""])
    assert all(got.pieces[:2])
    if encoding == "gzip":
        reader = zlib.decompressobj(31)
        assert [reader.decompress(piece) for piece in got.pieces[:2]] == [b"data: 1\n\n", b"data: 2\n\n"]
    assert UNDONE[encoding](got.body) == b"data: 1\n\ndata: 2\n\n"


@pytest.mark.parametrize(("content_type", "status", "headers"), [
    ("image/png", 200, {}), ("text/html", 206, {}), ("text/html", 200, {"content_encoding": "br"}),
    ("text/html", 200, {"cache_control": "public, No-Transform"})])
def test_what_is_left_alone(content_type, status, headers):
    got = run(make(Compress), headers={"accept-encoding": "gzip"}, answer=answer(content_type, status, **headers))
    assert got.body == TEXT and got.headers.get("content-encoding") == headers.get("content_encoding")
    assert "vary" not in got.headers


def test_small_answers_are_left_alone():
    small = Response(200, body=b"x" * 99, content_type="text/plain")
    assert run(make(Compress, min_size=100), headers={"accept-encoding": "gzip"}, answer=small).body == b"x" * 99


def test_caches_are_told_also_when_this_client_gets_it_plain():
    got = run(make(Compress), answer=answer(vary="Origin"))
    assert got.body == TEXT and got.headers.get_all("vary") == ["Origin", "Accept-Encoding"]
    assert run(make(Compress), answer=answer(vary="accept-encoding")).headers.get_all("vary") == ["accept-encoding"]


@pytest.mark.parametrize(("tag", "sent"), [('"v1"', 'W/"v1"'), ('W/"v1"', 'W/"v1"')])
def test_a_strong_tag_becomes_a_weak_one(tag, sent):
    got = run(make(Compress), headers={"accept-encoding": "gzip"}, answer=answer(etag=tag, accept_ranges="bytes"))
    assert got.headers["etag"] == sent and "accept-ranges" not in got.headers
    assert run(make(Compress), answer=answer(etag=tag)).headers["etag"] == tag


@pytest.mark.parametrize(("content_type", "is_one"), [
    ("text/css", True), ("TEXT/HTML", True), ("application/json", True), ("application/problem+json", True),
    ("image/svg+xml", True), ("application/octet-stream", False), ("", False), ("video/mp4", False)])
def test_types(content_type, is_one):
    got = run(make(Compress), headers={"accept-encoding": "gzip"}, answer=answer(content_type or None))
    assert ("content-encoding" in got.headers) is is_one


@pytest.mark.parametrize(("accepted", "chosen"), [
    ("", None), ("gzip", "gzip"), ("GZIP", "gzip"), ("x-gzip", "gzip"), ("gzip;q=0", None), ("*", "br"),
    ("*;q=0", None),
    ("gzip;q=0.9, br;q=0.8", "gzip"), ("br, gzip", "br"), ("gzip, br", "br"), ("gzip;q=0.5, *;q=0", "gzip"),
    ("identity;q=0.5, gzip;q=0.1", None), ("identity;q=0.5, gzip;q=0.5", "gzip"), ("gzip;q=abc", None),
    ("gzip;q=nan", None),
    ("deflate", None), (",,;q=1,", None), ("gzip ; q=0.2 , br ; q=0.1", "gzip"), ("br;q=0, *", "gzip"),
    ("gzip;q=1e400", "gzip")])
def test_what_a_client_likes_best(accepted, chosen):
    assert best(accepted, ("br", "gzip")) == chosen


def test_head_has_the_head_of_the_compressed_answer():
    got = run(make(Compress), "HEAD", headers={"accept-encoding": "gzip"}, answer=answer(), chunks=[])
    assert got.headers["content-encoding"] == "gzip" and got.body == b""


@pytest.mark.parametrize(("settings", "why"), [
    ({"encodings": ("deflate",)}, "there is no 'deflate'"), ({"level": 10}, "allowed: 0 to 9")])
def test_what_cannot_be_done(settings, why):
    with pytest.raises(ValueError, match=why):
        make(Compress, **settings)


def test_a_package_that_is_not_there_is_named(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "brotli", None)
    with pytest.raises(ValueError, match=r"br needs a package .* pip install 'fastmesh\[compression\]'"):
        make(Compress, encodings=("br",))
