"""From the text of a configuration to the policies of its fallbacks, or to all that is wrong with them, each at its
place; and what the commands say of them."""

from pathlib import Path
from typing import Any

import pytest

from fastmesh.cli.main import main
from fastmesh.config.load import Loaded, load
from fastmesh.errors import ConfigError
from fastmesh.filters.look import look_at_filters
from fastmesh.snapshot.chains import Chains
from fastmesh.snapshot.compiler import as_written, compile
from fastmesh.snapshot.fallbacks import fallbacks
from fastmesh.snapshot.registry import Registry
from probes.snapshot_probe import Snapshot
from probes.wire import registry

POLICIES = """\
from fastmesh import Duration, Fallback, Filter, Secret

class Good(Fallback):
    patience: Duration = 0.5
    key: Secret = "default"
    def answer(self, request, failure): ...

class Later(Fallback):
    isolated = True
    needs = ("Accept",)
    budget = "1ms"
    before_filters = True
    async def answer(self, request, failure): ...

class Nothing(Fallback):
    def anser(self, request, failure): ...

class Yields(Fallback):
    def answer(self, request, failure):
        yield 1

class Narrow(Fallback):
    def answer(self, request): ...

class Static(Fallback):
    @staticmethod
    def answer(request, failure): ...

class Reserved(Fallback):
    cluster: str = "x"
    def answer(self, request, failure): ...

class Starts(Fallback):
    async def start(self): ...
    def answer(self, request, failure): ...

class Takes(Fallback):
    def __init__(self, what): ...
    def answer(self, request, failure): ...

class Slow(Fallback):
    budget = "2"
    def answer(self, request, failure): ...

class AFilter(Filter):
    def on_request(self, request): ...
"""


def file_of(directory: Path, steps: str, more: str = "") -> str:
    (directory / "p.py").write_text(POLICIES)
    path = directory / "mesh.yaml"
    path.write_text(f"listeners:\n  - name: web\n    address: 127.0.0.1:8080\n    routes:\n"
                    f"      - match: {{prefix: /}}\n        cluster: a\n        fallback: {steps}\n{more}"
                    "clusters: [{name: a, endpoints: ['127.0.0.1:1']}]\n")
    return str(path)


def loaded(directory: Path, steps: str, more: str = "") -> Loaded:
    return load(file_of(directory, steps, more), {}, look_at_filters)


@pytest.mark.parametrize(("step", "at", "said"), [
    ("use: './p.py:Nothing'", "'./p.py:Nothing'",
     "Nothing has no method answer, so it would never answer | rename anser"),
    ("use: './p.py:Yields'", "'./p.py:Yields'", "Yields.answer is a generator: it has a yield"),
    ("use: './p.py:Narrow'", "'./p.py:Narrow'", "p.py:23:5: Narrow.answer(self, request) cannot be called"),
    ("use: './p.py:Static'", "'./p.py:Static'", "Static.answer is a staticmethod"),
    ("use: './p.py:Reserved'", "'./p.py:Reserved'", "Reserved.cluster has the name of what every fallback policy has"),
    ("use: './p.py:Starts'", "'./p.py:Starts'", "Starts.start is an async def"),
    ("use: './p.py:Takes'", "'./p.py:Takes'", "Takes.__init__ wants what"),
    ("use: './p.py:Slow'", "'./p.py:Slow'", "Slow.budget is '2'"),
    ("use: './p.py:AFilter'", "'./p.py:AFilter'",
     "does not inherit from fastmesh.Fallback | a filter stands in a list of filters"),
    ("use: './p.py:Godo'", "'./p.py:Godo'", "there is no Godo in ./p.py | write ./p.py:Good"),
    ("use: problem-detail", "problem-detail", "there is no fallback policy 'problem-detail' | write problem-details"),
    ("use: cors", "cors", "there is no fallback policy 'cors'"),
    ("use: ''", "''", "use"),
    ("use: './p.py:Good', patience: soon", "soon", "found 'soon'"),
    ("use: './p.py:Good', patince: 1s", "patince", "unknown key 'patince': Good has no such setting | write patience"),
    ("use: './p.py:Good', stale: {}", "use", "the step has both a stale and a use"),
    ("use: './p.py:Good', rewrite: {path: /x}", "rewrite", "rewrite is of a step with a cluster"),
    ("use: './p.py:Good', quarantine: {pause: 1h, longest: 1m}", "1h, longest", "quarantine.pause is 1h"),
    ("stale: {}, isolated: true", "isolated", "isolated is of a step with use"),
    ("stale: {}, name: x", "name", "name is of a step with use"),
    ("stale: {}, timeout: 1s", "timeout", "timeout is of a step with a cluster, or with use"),
    ("stale: {}, currency: EUR", "currency", "unknown key 'currency' | settings of one's own stand beside use"),
    ("uze: './p.py:Good'", "uze", "unknown key 'uze' | write use")])
def test_what_is_refused(tmp_path: Path, step: str, at: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        loaded(tmp_path, f"[{{{step}}}]")
    reason, _, hint = said.partition(" | ")
    found = [problem for problem in caught.value.problems
             if reason in f"{problem.reason} {problem.path}" and hint in problem.hint]
    assert len(found) == 1, caught.value.problems
    line = (tmp_path / "mesh.yaml").read_text().splitlines()[found[0].line - 1]
    assert found[0].line == 7 and line[found[0].column - 1:].startswith(at), (line, found)
    assert len(caught.value.problems) == 1, caught.value.problems


def test_a_name_is_taken_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="the name 'x' is taken by listeners"):
        loaded(tmp_path, "[{use: './p.py:Good', name: x}, {use: './p.py:Later', name: x}]")


def test_a_fallback_is_no_filter(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        loaded(tmp_path, "[]", "        filters: [{use: './p.py:Good'}]\n")
    assert caught.value.problems[0].hint == "name it in a route's fallback, as fallback: [{use: ./p.py:Good}]"


def test_what_a_worker_is_told(tmp_path: Path) -> None:
    found = loaded(tmp_path, "[{use: './p.py:Good', key: hidden, quarantine: {failures: 2}, budget: 3ms}, "
                             "{use: './p.py:Later', timeout: 2s, name: later, on: [429]}]")
    numbers = Registry()
    chains = Chains(found.config, found.filters, numbers)
    good, later = chains.slots
    assert (good["name"], good["phases"], good["settings"]) == (
        "Good@web/route-0", {"answer": "def"}, {"patience": 0.5, "key": "hidden"})
    assert (good["timeout_ns"], good["budget_ns"], good["isolated"]) == (10**9, 3 * 10**6, False)
    assert good["quarantine"][0] == 2 and good["on_error"] == "open" and not good["shadow"]
    assert (later["name"], later["phases"], later["isolated"], later["needs"]) == (
        "later", {"answer": "async"}, True, ["accept"])
    assert (later["timeout_ns"], later["budget_ns"], later["quarantine"][0]) == (2 * 10**9, 10**6, 20)
    assert fallbacks(found.config, {"a": 0}, chains) == [
        [[[4, 127, [502, 503, 504], [0, "Good@web/route-0", False]], [4, 0, [429], [1, "later", True]]]], [[0, 0, 0]]]
    isolated = chains.isolated()
    assert isolated is not None and isolated["names"] == ["later"] and isolated["timeout_ns"] == 2 * 10**9
    written: Any = as_written(found.config, chains)
    step = written["listeners"][0]["routes"][0]["fallback"][0]
    assert step["key"] == "(secret)" and step["use"] == "./p.py:Good"
    with registry() as r:
        Snapshot(compile(found.config, 1, numbers, 1024, chains)[0], r).close()


def test_one_that_several_routes_take_over_is_one(tmp_path: Path) -> None:
    path = tmp_path / "mesh.yaml"
    (tmp_path / "p.py").write_text(POLICIES)
    path.write_text("""
policies: [{name: p, routes: {fallback: [{use: './p.py:Good', name: good}]}}]
listeners:
  - name: web
    address: 127.0.0.1:8080
    routes: [{match: {prefix: /a}, cluster: a, policies: [p]}, {match: {prefix: /}, cluster: a, policies: [p]}]
  - name: other
    address: 127.0.0.1:8081
    fallback: [{use: './p.py:Good'}]
    routes: [{match: {prefix: /a}, cluster: a}, {match: {prefix: /}, cluster: a}]
clusters: [{name: a, endpoints: ['127.0.0.1:1']}]
""")
    found = load(str(path), {}, look_at_filters)
    chains = Chains(found.config, found.filters, Registry())
    assert [slot["name"] for slot in chains.slots] == ["good", "Good@other"]
    made, uses = fallbacks(found.config, {"a": 0}, chains)
    assert [chain[0][3][0] for chain in made] == [0, 0, 1] and uses[2:] == [[1, 0, 2], [1, 1, 2]]


def test_what_explain_says(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = file_of(tmp_path, "[{use: './p.py:Good', isolated: true}, {use: problem-details, timeout: 2s, on: [429]}]")
    assert main(["explain", file, "GET", "/"]) == 0
    assert [line for line in capsys.readouterr().out.splitlines() if line.startswith("fallback")] == [
        f"fallback 1 of 2 ({file}:7), after gateway-error: ask ./p.py:Good, within 1s, in a process of its own",
        f"fallback 2 of 2 ({file}:7), after 429: ask problem-details, within 2s"]
