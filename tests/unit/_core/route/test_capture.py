"""Paths made of parts of others."""

import re
import struct
from typing import Any

import pytest
from effort import tries
from hypothesis import given, settings
from hypothesis import strategies as st

from fastmesh.config.automaton import Automaton
from fastmesh.config.capture import captures_of, pieces_of
from fastmesh.config.regex import Regex, compile_regex
from fastmesh.config.template import compile_template
from probes.wire import decoded, listener, route, snapshot

STAYING = [0, b"", 0, [], []]


def table(found: Regex, text: str) -> Any:
    patterns: list[list[bytes]] = []

    def place(automaton: Automaton) -> int:
        cells = struct.pack(f"<{len(automaton.table)}H", *automaton.table)
        patterns.append([automaton.classes, automaton.flags, cells])
        return len(patterns) - 1
    captures = captures_of(found)
    parts = [[place(one), place(rest)] for one, rest in zip(captures.forward, captures.rest, strict=True)]
    change = [3, b"", 0, parts, [[piece.part, piece.text] for piece in pieces_of(text, found)]]
    redirect = [302, "", "", 0, change, False]
    made = route(status=302, acts=[redirect, "", STAYING, [], []])
    return decoded(snapshot([listener([made])], patterns=patterns))


@pytest.mark.parametrize(("match", "text", "path", "made"), [
    ("/users/{id}", "/v2/{id}", "/users/7", "/v2/7"),
    ("/users/{id}/**", "/v2/{id}/{2}", "/users/7/a/b", "/v2/7/a/b"),
    ("/users/{id}/**", "/v2/{id}{2}", "/users/7", "/v2/7"),
    ("/files/{path=**}", "{path}", "/files/a", "/a"),
    ("/files/{path=**}", "{path}", "/files", ""),
    ("/{a}-{b}.{c}", "/{c}/{b}/{a}", "/x-y-z.w.v", "/v/z.w/x-y"),
    ("/{a}/x", "/{a}", "/b", None),
])
def test_templates(match, text, path, made):
    with table(compile_template(match), text) as s:
        assert s.rewritten(path.encode()) == (None if made is None else made.encode())


@pytest.mark.parametrize(("match", "text", "path", "made"), [
    ("/api/v([0-9]+)/(.*)", "/{2}/of/{1}", "/api/v12/a/b", "/a/b/of/12"),
    ("/(?P<a>[a-z]*)(?P<b>[a-z0-9]*)", "/{b}-{a}", "/abc1", "/1-abc"),
    ("/(a|ab)(c|bcd)", "/{1}/{2}", "/abcd", "/a/bcd"),
    ("/(a|ab)(bcd|cd)", "/{1}/{2}", "/abcd", "/ab/cd"),
    ("(/.*)/x", "{1}", "/a/x/x", "/a/x"),
    ("/(.*)", "/b/{1}", "/", "/b/"),
])
def test_groups(match, text, path, made):
    with table(compile_regex(match), text) as s:
        assert s.rewritten(path.encode()) == made.encode()


PARTS = st.lists(st.sampled_from(["a", "/", "b+", "(a*)", "([ab]+)", "([^/]+)", "([ab/]*)", "(a?)", "[ab]*"]),
                 min_size=1, max_size=6).map("".join)


@settings(max_examples=tries(400), deadline=None)
@given(PARTS, st.lists(st.text("ab/", max_size=12), min_size=3, max_size=12))
def test_the_same_as_re(pattern, texts):
    found = compile_regex("/" + pattern)
    reference = re.compile("/" + pattern)
    template = "/" + "-".join(f"{{{i + 1}}}" for i in range(reference.groups))
    with table(found, template) as s:
        for text in texts:
            match = reference.fullmatch("/" + text)
            made = s.rewritten(("/" + text).encode())
            assert (made is None) == (match is None)
            if match is not None:
                groups = [group or "" for group in match.groups()]
                plain = "/" + "-".join(groups)
                assert made == (plain[0] + plain[1:].removeprefix("/") if reference.groups else plain).encode()


def test_the_longest_path_there_is():
    with table(compile_regex("/" + "(a*)" * 15), "/{15}{1}") as s:
        assert s.rewritten(b"/" + b"a" * 65_534) == b"/" + b"a" * 65_534
        assert s.rewritten(b"/" + b"a" * 65_533 + b"b") is None
        assert s.rewritten(b"/" + b"a" * 65_535) is None
