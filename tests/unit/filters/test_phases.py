"""Which phases a class has, and what is wrong with them."""

from typing import Any

import pytest

from fastmesh.filters.filter import Filter
from fastmesh.filters.phases import PHASES, STREAMS, phases_of


def made(**methods: Any) -> type[Filter]:
    return type("Mine", (Filter,), methods)


def on_request(self, request): ...
async def on_complete(self, request, outcome): ...


async def on_request_stream(self, request, chunks):
    yield b""


def test_the_phases_are_those_of_the_base_class():
    own = {name for name in vars(Filter) if name.startswith("on_") and name != "on_error"}
    assert own == set(PHASES)


def test_kinds():
    cls = made(on_request=on_request, on_complete=on_complete, on_request_stream=on_request_stream)
    assert phases_of(cls) == ({"on_request": "def", "on_request_stream": "generator", "on_complete": "async"}, [])
    # What a parent has counts; what it hides does not.
    assert phases_of(type("Child", (cls,), {}))[0] == phases_of(cls)[0]
    assert phases_of(type("Child", (cls,), {"on_request": Filter.on_request}))[0] == {
        "on_request_stream": "generator", "on_complete": "async"}


@pytest.mark.parametrize("method", [
    lambda self, request: None, lambda self, *args: None, lambda self, request, more=1: None,
    lambda self, request, /, *, more=1, **rest: None, lambda *args: None])
def test_signatures_that_fit(method):
    assert phases_of(made(on_request=method))[1] == []


def said(**methods: Any) -> list[tuple[str, str, str]]:
    return [bad[:3] for bad in phases_of(made(**methods))[1]]


@pytest.mark.parametrize(("method", "found"), [
    (lambda self: None, "self"), (lambda self, request, response: None, "self, request, response"),
    (lambda request: None, "request"), (lambda self, request, *, key: None, "self, request, key")])
def test_signatures_that_do_not(method, found):
    ((reason, allowed, hint),) = said(on_request=method)
    assert reason == f"Mine.on_request({found}) cannot be called as it will be"
    assert (allowed, hint) == ("the parameters self, request", "write def on_request(self, request)")


def a_generator(self, request):
    yield


async def no_generator(self, request, chunks): ...


@pytest.mark.parametrize(("methods", "reason", "hint"), [
    ({}, "Mine has no phase, so it would never be called", "write def on_request(self, request)"),
    ({"on_request": 3}, "Mine.on_request is of type int", "write def on_request(self, request)"),
    ({"on_request": staticmethod(on_request)}, "Mine.on_request is a staticmethod",
     "write def on_request(self, request)"),
    ({"on_request": classmethod(on_request)}, "Mine.on_request is a classmethod",
     "write def on_request(self, request)"),
    ({"on_request": a_generator}, "Mine.on_request is a generator: it has a yield",
     f"remove the yield; only {', '.join(STREAMS)} are generators"),
    ({"on_request_stream": no_generator}, "Mine.on_request_stream has no yield",
     "write async def on_request_stream(self, request, chunks): async for chunk in chunks: yield chunk"),
    ({"on_request_stream": lambda self, request, chunks: None}, "Mine.on_request_stream is no async def",
     "write async def on_request_stream(self, request, chunks): async for chunk in chunks: yield chunk"),
    ({"on_request": on_request, "on_reqest": on_request}, "Mine.on_reqest is no phase", "write on_request"),
    ({"on_request": on_request, "on_full_moon": on_request}, "Mine.on_full_moon is no phase",
     "name it _on_full_moon when it is your own"),
    ({"on_request_stream": on_request_stream, "on_request_chunk": lambda self, request, chunk, last: None},
     "Mine has on_request_chunk and on_request_stream, all for the body of the request",
     "keep the one that sees the body as you want it: in pieces, whole, or as a stream"),
    ({"on_request": on_request, "start": no_generator}, "Mine.start is an async def", "write def start(self) -> None"),
    ({"on_request": on_request, "__init__": lambda self, a, b=1: None}, "Mine.__init__ wants a",
     "annotated attributes are the settings; what is made of them is made in start(self)"),
])
def test_wrong(methods, reason, hint):
    ((found, _, to_do),) = said(**methods)
    assert (found, to_do) == (reason, hint)


def test_everything_wrong_is_said():
    found = said(on_request=lambda self: None, on_respose=on_request, start=no_generator, on_complete=1)
    assert [reason.split(" ")[0] for reason, *_ in found] == [
        "Mine.on_request(self)", "Mine.on_complete", "Mine.on_respose", "Mine.start"]
