"""What classes are asked, the phases of a filter and the questions to a load balancer, and whether each method can be
called as it will be."""

import difflib
import inspect
import types
from typing import Any, NamedTuple

from fastmesh.filters.balancer import LoadBalancer
from fastmesh.filters.fallback import Fallback
from fastmesh.filters.filter import Filter
from fastmesh.filters.source_place import place_in_source

# In the order in which an exchange comes to them.
PHASES = (
    "on_connection", "on_request", "on_route", "on_request_chunk", "on_request_body", "on_request_stream",
    "on_request_trailers", "on_upstream_error", "on_retry", "on_response", "on_response_chunk", "on_response_body",
    "on_response_stream", "on_response_trailers", "on_complete")
TCP_PHASES = ("on_connection", "on_complete")
STREAMS = ("on_request_stream", "on_response_stream")
BODIES = {"request": ("on_request_chunk", "on_request_body", "on_request_stream"),
          "answer": ("on_response_chunk", "on_response_body", "on_response_stream")}
DEF, ASYNC, GENERATOR = "def", "async", "generator"
QUESTIONS = ("weights", "pick")     # to a load balancer
ANSWER = "answer"                   # what a fallback is asked for


class BadClass(NamedTuple):
    """What is wrong with a class: a sentence, what is allowed, what to do, and of which attribute; "" is the class."""

    reason: str
    allowed: str = ""
    hint: str = ""
    name: str = ""

    def said_of(self, cls: type) -> str:
        """The sentence, behind the place in the class's source."""
        place = place_in_source(cls, self.name)
        return f"{place}: {self.reason}" if place else self.reason

    def hint_of(self, cls: type) -> str:
        """What to do, where the sentence alone leaves that open: the configuration is not what is wrong."""
        return self.hint or f"change {cls.__name__}.{self.name}" if self.name else self.hint


def phases_of(cls: type[Filter]) -> tuple[dict[str, str], list[BadClass]]:
    """The phases of a class with their kinds, and what is wrong with them."""
    found: dict[str, str] = {}
    bad: list[BadClass] = []
    for name in PHASES:
        method = inspect.getattr_static(cls, name)
        if method is inspect.getattr_static(Filter, name):
            continue
        if not isinstance(method, types.FunctionType):
            bad.append(BadClass(f"{_of(cls, name)} is {_kind_of(method)}", "a method, with def or async def",
                                f"write {_head(name)}", name))
            continue
        found[name] = GENERATOR if inspect.isasyncgenfunction(method) else (
            ASYNC if inspect.iscoroutinefunction(method) else DEF)
        bad += _signature(cls, name, method)
        bad += _shape(cls, name, method)
    bad += _misspelled(cls)
    for direction, names in BODIES.items():
        if len(several := [name for name in names if name in found]) > 1:
            bad.append(BadClass(f"{cls.__name__} has {' and '.join(several)}, all for the body of the {direction}",
                                "one of them",
                                "keep the one that sees the body as you want it: in pieces, whole, or as a stream",
                                several[-1]))
    if not found and not bad:
        bad.append(BadClass(f"{cls.__name__} has no phase, so it would never be called",
                            "at least one of " + ", ".join(PHASES), f"write {_head('on_request')}"))
    bad += _life(cls, Filter)
    bad += _constructor(cls)
    return found, bad


def questions_of(cls: type[LoadBalancer]) -> tuple[dict[str, str], list[BadClass]]:
    """What a load balancer can be asked, as `phases_of`."""
    found: dict[str, str] = {}
    bad: list[BadClass] = []
    for name in QUESTIONS:
        method = inspect.getattr_static(cls, name)
        if method is inspect.getattr_static(LoadBalancer, name):
            continue
        head = f"write {_head(name, LoadBalancer)}"
        if not isinstance(method, types.FunctionType):
            bad.append(BadClass(f"{_of(cls, name)} is {_kind_of(method)}", "a method with def", head, name))
        elif inspect.iscoroutinefunction(method) or inspect.isasyncgenfunction(method):
            bad.append(BadClass(
                f"{_of(cls, name)} is async def, and a load balancer is asked between two requests, "
                "where nothing can be waited for", "a method with def",
                f"{head}; let a filter or another process fetch what has to be waited for, put it into "
                "fastmesh.shared, and read it here", name))
        elif inspect.isgeneratorfunction(method):
            bad.append(BadClass(f"{_of(cls, name)} is a generator: it has a yield", "a method that returns its answer",
                                "return a list" if name == "weights" else head, name))
        else:
            found[name] = DEF
            bad += _signature(cls, name, method, LoadBalancer)
    if not found and not bad:
        bad.append(BadClass(f"{cls.__name__} has neither {' nor '.join(QUESTIONS)}, so it would never be asked",
                            "one of them, or both", f"write {_head('weights', LoadBalancer)}"))
    bad += _life(cls, LoadBalancer)
    bad += _constructor(cls)
    return found, bad


def answer_of(cls: type[Fallback]) -> tuple[dict[str, str], list[BadClass]]:
    """What the policy of a fallback is asked for, as `phases_of`."""
    found: dict[str, str] = {}
    bad: list[BadClass] = []
    head = f"write {_head(ANSWER, Fallback)}"
    method = inspect.getattr_static(cls, ANSWER)
    if method is inspect.getattr_static(Fallback, ANSWER):
        close = difflib.get_close_matches(ANSWER, [name for name in vars(cls) if not name.startswith("_")], 1, 0.6)
        bad.append(BadClass(f"{cls.__name__} has no method {ANSWER}, so it would never answer", "",
                            f"rename {close[0]}" if close else head))
    elif not isinstance(method, types.FunctionType):
        bad.append(BadClass(f"{_of(cls, ANSWER)} is {_kind_of(method)}", "a method, with def or async def", head,
                            ANSWER))
    elif inspect.isgeneratorfunction(method) or inspect.isasyncgenfunction(method):
        bad.append(BadClass(f"{_of(cls, ANSWER)} is a generator: it has a yield", "a method that returns its answer",
                            "return a Response, or None for the next step", ANSWER))
    else:
        found[ANSWER] = ASYNC if inspect.iscoroutinefunction(method) else DEF
        bad += _signature(cls, ANSWER, method, Fallback)
    bad += _life(cls, Fallback)
    bad += _constructor(cls)
    return found, bad


def _life(cls: type, base: type) -> list[BadClass]:
    bad = []
    for name in ("start", "stop"):
        method = inspect.getattr_static(cls, name)
        if method is not inspect.getattr_static(base, name) and (
                not isinstance(method, types.FunctionType) or inspect.iscoroutinefunction(method)):
            bad.append(BadClass(f"{_of(cls, name)} is {_kind_of(method)}", "a method with def",
                                f"write def {name}(self) -> None", name))
    return bad


def _of(cls: type, name: str) -> str:
    owner = next((owner for owner in cls.__mro__ if name in vars(owner)), cls)
    return f"{owner.__name__}.{name}"


def _parameters(name: str, base: type = Filter) -> list[str]:
    return list(inspect.signature(getattr(base, name)).parameters)


def _head(name: str, base: type = Filter) -> str:
    return f"{'async ' if name in STREAMS else ''}def {name}({', '.join(_parameters(name, base))})"


def _kind_of(value: Any) -> str:
    if isinstance(value, (classmethod, staticmethod)):
        return f"a {type(value).__name__}"
    if inspect.iscoroutinefunction(value):
        return "an async def"
    return f"of type {type(value).__name__}"


def _signature(cls: type, name: str, method: types.FunctionType, base: type = Filter) -> list[BadClass]:
    wanted = _parameters(name, base)
    given = inspect.signature(method).parameters.values()
    positional = [p for p in given if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    needed = [p for p in positional if p.default is p.empty]
    takes_all = any(p.kind is p.VAR_POSITIONAL for p in given)
    unfilled = [p.name for p in given if p.kind is p.KEYWORD_ONLY and p.default is p.empty]
    if len(needed) <= len(wanted) and (takes_all or len(positional) >= len(wanted)) and not unfilled:
        return []
    found = ", ".join(str(p).split(":")[0].split("=")[0].strip() for p in given)
    return [BadClass(f"{_of(cls, name)}({found}) cannot be called as it will be",
                     f"the parameters {', '.join(wanted)}", f"write {_head(name, base)}", name)]


def _shape(cls: type, name: str, method: types.FunctionType) -> list[BadClass]:
    is_async_generator = inspect.isasyncgenfunction(method)
    if name in STREAMS:
        if is_async_generator:
            return []
        what = "has no yield" if inspect.iscoroutinefunction(method) else "is no async def"
        return [BadClass(f"{_of(cls, name)} {what}", "an async generator: async def, with yield in it",
                         f"write {_head(name)}: async for chunk in chunks: yield chunk", name)]
    if is_async_generator or inspect.isgeneratorfunction(method):
        streams = ", ".join(STREAMS)
        return [BadClass(f"{_of(cls, name)} is a generator: it has a yield", "a method that returns its answer",
                         f"remove the yield; only {streams} are generators", name)]
    return []


def _misspelled(cls: type[Filter]) -> list[BadClass]:
    bad = []
    for owner in cls.__mro__:
        if owner is Filter or not issubclass(owner, Filter):
            continue
        for name, value in vars(owner).items():
            if name.startswith("on_") and name not in PHASES and name != "on_error" and callable(value):
                close = difflib.get_close_matches(name, PHASES, 1, 0.6)
                bad.append(BadClass(f"{owner.__name__}.{name} is no phase", ", ".join(PHASES),
                                    f"write {close[0]}" if close else f"name it _{name} when it is your own",
                                    name))
    return bad


def _constructor(cls: type) -> list[BadClass]:
    """An instance is made without arguments, then given its settings, then started."""
    method = inspect.getattr_static(cls, "__init__")
    if not isinstance(method, types.FunctionType):
        return []
    needed = [p.name for p in list(inspect.signature(method).parameters.values())[1:]
              if p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    if not needed:
        return []
    return [BadClass(f"{cls.__name__}.__init__ wants {', '.join(needed)}", "one without arguments, or none",
                     "annotated attributes are the settings; what is made of them is made in start(self)",
                     "__init__")]
