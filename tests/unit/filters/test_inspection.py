"""From the text of a configuration to its filters, or to everything that is wrong with them, each at its place."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fastmesh.config.load import Loaded, load
from fastmesh.errors import ConfigError, OutOfTime
from fastmesh.filters.inspection import inspect
from fastmesh.filters.loading import MAX_FILE, Loader

FILTERS = """\
from typing import ClassVar
from fastmesh import Duration, Filter, Secret

class Tenant(Filter):
    header: str = "x-tenant"
    key: Secret
    wait: Duration = 0.5
    names: list[str] = []
    def on_request(self, request): ...

class Guard(Filter):
    security = True
    budget = "1ms"
    body_limit = "2MiB"
    timeout = "300ms"
    budget_per_second = "150ms"
    isolated = True
    def on_request(self, request): ...

class Door(Filter):
    def on_connection(self, connection): ...
    def on_complete(self, request, outcome): ...

class Tee(Filter):
    def on_connection(self, connection): ...

class Reserved(Filter):
    name: str = "x"
    budget: str = "3ms"
    def on_request(self, request): ...

class Decided(Filter):
    budget = "2"
    body_limit = 7
    timeout = "2h"
    budget_per_second = 3
    on_error = "maybe"
    limit: int = "many"
    def on_request(self, request): ...

    class Inner(Filter):
        def on_request(self, request): ...

def function(): ...
class Plain: ...
"""


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[Path]:
    (tmp_path / "f.py").write_text(FILTERS)
    yield tmp_path
    for name in [name for name in sys.modules if name.startswith("fastmesh_file_")]:
        del sys.modules[name]


def loaded(directory: Path, text: str, **env: str) -> Loaded:
    (directory / "mesh.yaml").write_text(text)
    return load(str(directory / "mesh.yaml"), env, inspect)


def problems(directory: Path, text: str) -> list[tuple[str, str]]:
    with pytest.raises(ConfigError) as caught:
        loaded(directory, text)
    return [(str(problem).replace(f"{directory}/", ""), problem.hint) for problem in caught.value.problems]


def one(use: str) -> str:
    return f"filters:\n- {{name: a, use: {use}}}\nlisteners: []\n"


def test_a_filter_that_can_be_used(directory):
    found = loaded(directory, one("./f.py:Tenant, key: '${KEY}', wait: 250ms, names: [a, b]"), KEY="hidden").filters
    tenant = found.by_place[("filters", 0)]
    assert tenant.settings == {"header": "x-tenant", "key": "hidden", "wait": 0.25, "names": ["a", "b"]}
    assert (tenant.secrets, tenant.phases) == ({"key"}, {"on_request": "def"})
    assert (tenant.security, tenant.isolated, tenant.budget, tenant.body_limit) == (False, False, 2_000_000, 1 << 20)
    assert (tenant.loaded.kind, tenant.loaded.qualname, tenant.loaded.source) == ("file", "Tenant", FILTERS)
    assert tenant.loaded.module == f"fastmesh_file_{tenant.loaded.fingerprint}"
    assert tenant.loaded.file == str(directory / "f.py") and found.files == [str(directory / "f.py")]
    guard = loaded(directory, one("./f.py:Guard")).filters.by_place[("filters", 0)]
    assert (guard.security, guard.isolated, guard.budget, guard.body_limit) == (True, True, 1_000_000, 2 << 20)
    assert (tenant.timeout, guard.timeout) == (None, 300_000_000)
    assert (tenant.budget_per_second, guard.budget_per_second) == (0, 150_000_000)


def test_a_class_in_a_class(directory):
    found = loaded(directory, one("./f.py:Decided.Inner")).filters
    assert found.by_place[("filters", 0)].loaded.qualname == "Decided.Inner"


@pytest.mark.parametrize(("use", "message", "hint"), [
    ("./f.py", "use: ./f.py names no class, allowed: one of Tenant, Guard, Door, Tee, Reserved, Decided",
     "write ./f.py:Tenant"),
    ("./f.py:Tennant", "use: there is no Tennant in ./f.py, allowed: Tenant, Guard, Door, Tee, Reserved, Decided",
     "write ./f.py:Tenant"),
    ("./f.py:function", "use: ./f.py:function is no class, it is of type function, allowed: Tenant, Guard, Door, Tee, "
     "Reserved, Decided", ""),
    ("./f.py:Plain", "use: ./f.py:Plain does not inherit from fastmesh.Filter, allowed: Tenant, Guard, Door, Tee, "
     "Reserved, Decided", "write class Plain(Filter), with from fastmesh import Filter"),
    ("./g.py:A", "use: the file ./g.py cannot be read: No such file or directory",
     "check the path, {directory}/g.py; a relative one begins where the configuration is"),
    ("no_such_package.x:A", "use: there is no module 'no_such_package'",
     "install the package where fastmesh is installed, and check the spelling"),
    ("no-such:A", "use: found 'no-such', which is no name of a module, allowed: my_package.module:Class, "
     "./file.py:Class, or the name of an installed filter", ""),
    ("my.package.Class", "use: there is no filter 'my.package.Class' built in or installed",
     "write my.package:Class"),
    ("./f.py:Tenant", "the setting 'key' of Tenant is missing", "add key"),
    ("./f.py:Tenant, key: x, headr: y", "unknown key 'headr': Tenant has no such setting, allowed: header, key, wait, "
     "names, name, use, match, on_error, allow_fail_open, budget, budget_per_second, body_limit, isolated, timeout, "
     "mode, quarantine",
     "write header"),
    ("./f.py:Tenant, key: x, bugdet: 1ms", "unknown key 'bugdet': Tenant has no such setting, allowed: header, key, "
     "wait, names, name, use, match, on_error, allow_fail_open, budget, budget_per_second, body_limit, isolated, "
     "timeout, mode, quarantine",
     "write budget"),
    ("./f.py:Tenant, key: x, wait: 3", "wait: found '3', allowed: a number with one of ms, s, m, h", "write 3s"),
    ("./f.py:Tenant, key: x, names: [a, [b]]", "names[1]: found a list, allowed: text", ""),
    ("./f.py:Guard, on_error: open", "on_error: Guard is marked security, and on_error: open lets requests through "
     "when it fails, allowed: closed", "write on_error: closed; add allow_fail_open: true if that is meant"),
    ("./f.py:Guard, on_error: skip", "on_error: Guard is marked security, and on_error: skip lets requests through "
     "when it fails, allowed: closed", "write on_error: closed; add allow_fail_open: true if that is meant"),
])
def test_one_thing_wrong(directory, use, message, hint):
    ((found, to_do),) = problems(directory, one(use))
    place, said = found.split(": ", 1)
    assert place.startswith("mesh.yaml:2:")
    said = said.replace("filters[0].", "").replace("filters[0]: ", "")
    # Behind it stand those that come with fastmesh.
    assert said.partition(", allowed: api-key")[0] == message
    assert to_do == hint.format(directory=directory)


def test_fail_open_is_allowed_on_purpose(directory):
    loaded(directory, one("./f.py:Guard, on_error: open, allow_fail_open: true"))
    loaded(directory, one("./f.py:Guard, on_error: closed"))


def test_what_a_class_says_wrong(directory):
    wrong = problems(directory, one("./f.py:Decided"))
    assert [to_do for _, to_do in wrong] == [
        "write 2s", "change Decided.body_limit", "change Decided.timeout", "change Decided.budget_per_second",
        "change Decided.on_error", "change Decided.limit"]
    found = [said.removeprefix("mesh.yaml:2:18: filters[0].use: ") for said, _ in wrong]
    assert found == [
        "f.py:33:5: Decided.budget is '2', allowed: a number with one of ms, s, m, h",
        "f.py:34:5: Decided.body_limit is 7, allowed: text with a unit",
        "f.py:35:5: Decided.timeout is '2h', allowed: 1ms to 1h, or None",
        "f.py:36:5: Decided.budget_per_second is 3, allowed: text with a unit",
        "f.py:37:5: Decided.on_error is 'maybe', allowed: closed, open, skip or None",
        "f.py:38:5: the default of Decided.limit is 'many', allowed: a whole number"]
    found = [said.removeprefix("mesh.yaml:2:18: filters[0].use: ")
             for said, _ in problems(directory, one("./f.py:Reserved"))]
    assert found == ["f.py:28:5: Reserved.name has the name of what every filter has, allowed: another name",
                     "f.py:29:5: Reserved.budget has the name of what every filter has, allowed: another name"]


@pytest.mark.parametrize(("text", "said", "hint"), [
    ("x = 1\n\ndef f():\n    return 1 / 0\n\nf()\n", "bad.py:4: ZeroDivisionError: division by zero", ""),
    ("import json\njson.loads('{')\n", "bad.py:2: JSONDecodeError: Expecting property name enclosed in double quotes",
     ""),
    ("import sys\nsys.exit(3)\n", "bad.py:2: it called sys.exit(3)",
     "remove the call: a filter does not end its process"),
    ("class Odd(BaseException): ...\nraise Odd\n", "bad.py:2: Odd", ""),
    ("def x(:\n    pass\n", "bad.py:1: SyntaxError: invalid syntax", ""),
    ("x = '\0'\n", "source code string cannot contain null bytes", ""),
    ("import f\n", "bad.py:1: ModuleNotFoundError: No module named 'f'",
     "a file stands alone and does not see those beside it: make a package of them, install it, and write "
     "my_package.module:Class"),
    ("import no_such_thing.x\n", "bad.py:1: ModuleNotFoundError: No module named 'no_such_thing'",
     "install no_such_thing where fastmesh is installed"),
    ("def f(): f()\nf()\n", "bad.py:1: RecursionError: maximum recursion depth exceeded", ""),
])
def test_a_file_that_cannot_be_imported(directory, text, said, hint):
    (directory / "bad.py").write_text(text)
    found = problems(directory, one("./bad.py:A") + "zorders: 1\n")
    assert len(found) == 2 and "unknown key 'zorders'" in found[1][0]     # the others are found all the same
    assert found[0][0].startswith("mesh.yaml:2:18: filters[0].use: ") and said in found[0][0]
    assert found[0][1] == hint
    assert not [name for name in sys.modules if name.startswith("fastmesh_file_")]


def test_what_is_printed_is_caught_and_reported(directory, capfd):
    (directory / "loud.py").write_text(
        "import sys\nprint('hello')\nprint('x' * 100_000, file=sys.stderr)\n" + FILTERS)
    text = one("./loud.py:Guard").replace("\nlisteners", "\n- {name: b, use: ./loud.py:Door}\nlisteners")
    found = loaded(directory, text)
    assert capfd.readouterr() == ("", "")
    said = [warning.message for warning in found.warnings if "prints" in warning.message]
    assert said == ["Guard's module prints while it is imported: 'hello'"]


@pytest.mark.parametrize(("text", "said"), [
    ("def __getattr__(name): raise OSError('nothing')\n", "the class cannot be looked at: OSError: nothing"),
    ("from fastmesh import Filter\nclass Broken:\n    def __repr__(self): raise OSError('no repr')\n"
     "class A(Filter):\n    x: int = Broken()\n    def on_request(self, request): ...\n",
     "the class cannot be looked at: OSError: no repr"),
    ("from fastmesh import Filter\nclass A(Filter):\n    @property\n    def on_request(self): ...\n",
     "odd.py:4:5: A.on_request is of type property, allowed: a method, with def or async def"),
    ("from fastmesh import Filter\nclass A(Filter):\n    x: 1 / 0\n    def on_request(self, request): ...\n",
     "ZeroDivisionError: division by zero"),
    ("from __future__ import annotations\nfrom fastmesh import Filter\nclass A(Filter):\n    x: 1 / 0\n"
     "    def on_request(self, request): ...\n",
     "odd.py:4:5: A.x is no setting: its annotation cannot be evaluated: ZeroDivisionError: division by zero"),
])
def test_classes_that_cannot_be_looked_at(directory, text, said):
    (directory / "odd.py").write_text(text)
    ((found, _),) = problems(directory, one("./odd.py:A"))
    assert said in found


def test_a_module_that_takes_too_long_ends_the_look(directory):
    (directory / "slow.py").write_text("from fastmesh.errors import OutOfTime\nraise OutOfTime\n")  # as the alarm does
    with pytest.raises(OutOfTime, match=r"most of it to import .*slow\.py"):
        loaded(directory, one("./slow.py:A"))
    assert not issubclass(OutOfTime, Exception)


def test_files_that_are_none(directory):
    (directory / "big.py").write_text("#" * (MAX_FILE + 1))
    ((said, _),) = problems(directory, one("./big.py:A"))
    assert said.endswith("the file ./big.py is larger than 1 MiB")
    import os
    os.mkfifo(directory / "pipe.py")
    ((said, _),) = problems(directory, one("./pipe.py:A"))
    assert said.endswith("the file ./pipe.py cannot be read: it is no regular file")


CHAIN = """\
filters:
- {name: door, use: ./f.py:Door}
- {name: guard, use: ./f.py:Guard}
listeners:
- {name: web, address: "127.0.0.1:1", filters: [door, guard], routes: [{match: {}, cluster: app, filters: [guard]}]}
- {name: db, address: "127.0.0.1:2", protocol: tcp, cluster: app, filters: [door, {use: ./f.py:Tee}]}
clusters:
- {name: app, endpoints: [], filters: [{name: own, use: ./f.py:Guard}]}
"""


@pytest.mark.parametrize(("old", "new", "said"), [
    ("cluster: app, filters: [guard]", "cluster: app, filters: [door]",
     "listeners[0].routes[0].filters[0]: Door has the phase on_connection, which a route does not have, allowed: "
     "filters without it"),
    ("{name: own, use: ./f.py:Guard}", "{name: own, use: ./f.py:Tee}",
     "clusters[0].filters[0]: Tee has the phase on_connection, which a cluster does not have, allowed: filters "
     "without it"),
    ("[door, {use", "[guard, {use", "listeners[1].filters[0]: Guard has on_request, and a tcp listener sees no "
     "requests, allowed: filters with on_connection and on_complete alone"),
    ("use: ./f.py:Door}", "use: ./f.py:Door, match: {methods: [GET]}}",
     "filters[0].match.methods: Door has the phase on_connection, and a connection has no methods to match, allowed: a "
     "match with share alone"),
])
def test_places(directory, old, new, said):
    assert [warning.message for warning in loaded(directory, CHAIN).warnings if "filter" in warning.message] == [
        "the filters of the cluster 'app' are not asked about connections"]
    assert CHAIN.count(old) == 1
    found = [message.split(": ", 1)[1] for message, _ in problems(directory, CHAIN.replace(old, new))]
    assert said in found


def test_one_that_nothing_refers_to(directory):
    messages = [warning.message for warning in loaded(directory, one("./f.py:Guard")).warnings]
    assert "nothing refers to the filter 'a'" in messages


def test_fingerprints_follow_the_code(directory, monkeypatch):
    package = directory / "lib" / "some_package_of_filters"
    package.mkdir(parents=True)
    monkeypatch.syspath_prepend(str(package.parent))
    (package / "__init__.py").write_text("")
    (package / "one.py").write_text("from fastmesh import Filter\nclass A(Filter): ...\n")

    def fingerprint(use: str) -> str:
        for name in [name for name in sys.modules if name.startswith("some_package_of_filters")]:
            del sys.modules[name]
        return Loader(str(directory)).load(use).fingerprint

    first = fingerprint("some_package_of_filters.one:A")
    assert fingerprint("some_package_of_filters.one:A") == first
    (package / "two.py").write_text("x = 1\n")
    second = fingerprint("some_package_of_filters.one:A")
    assert second != first
    assert not (package / "__pycache__").exists()
    file = fingerprint("./f.py:Guard")
    assert fingerprint("./f.py:Door") == file == fingerprint("f.py:Guard")
    (directory / "f.py").write_text(FILTERS + "# more\n")
    assert fingerprint("./f.py:Guard") != file


def test_entry_points(directory, monkeypatch):
    from importlib import metadata

    def points(group: str) -> list[Any]:
        assert group == "fastmesh.filters"
        return [metadata.EntryPoint("guard-of-mine", "some_filters_of_mine:Guard", group)]

    monkeypatch.setattr(metadata, "entry_points", points)
    (directory / "some_filters_of_mine.py").write_text(FILTERS)
    monkeypatch.syspath_prepend(str(directory))
    found = loaded(directory, one("guard-of-mine")).filters.by_place[("filters", 0)]
    assert (found.loaded.kind, found.loaded.module, found.loaded.qualname) == (
        "module", "some_filters_of_mine", "Guard")
    ((said, hint),) = problems(directory, one("gard-of-mine"))
    assert "there is no filter 'gard-of-mine' built in or installed, allowed: " in said and ", guard-of-mine" in said
    assert hint == "write guard-of-mine"
