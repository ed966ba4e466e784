"""From the text of a configuration to its load balancers, or to all that is wrong with them, each at its place."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fastmesh.cli.main import main
from fastmesh.config.load import Loaded, load
from fastmesh.errors import ConfigError
from fastmesh.filters.inspection import inspect
from fastmesh.snapshot.chains import Chains
from fastmesh.snapshot.compiler import as_written, compile, describe
from fastmesh.snapshot.registry import Registry

POLICIES = """\
from fastmesh import Duration, Filter, LoadBalancer, Secret

class Fast(LoadBalancer):
    patience: Duration = 0.5
    key: Secret = "default"
    def weights(self, endpoints): ...

class Hash(LoadBalancer):
    interval = "2s"
    budget = "1ms"
    on_error = "closed"
    def pick(self, request, endpoints): ...

class Nothing(LoadBalancer):
    def wieghts(self, endpoints): ...

class Later(LoadBalancer):
    async def weights(self, endpoints): ...
    def pick(self, request, endpoints): ...

class Yields(LoadBalancer):
    def weights(self, endpoints):
        yield 1

class Narrow(LoadBalancer):
    def pick(self, request): ...

class Static(LoadBalancer):
    @staticmethod
    def weights(endpoints): ...

class Alone(LoadBalancer):
    isolated = True
    interval = "1ms"
    on_error = "skip"
    budget = "2"
    def weights(self, endpoints): ...

class Reserved(LoadBalancer):
    pick_by: str = "x"
    def weights(self, endpoints): ...

class Needs(LoadBalancer):
    def __init__(self, size): ...
    def weights(self, endpoints): ...

class Never(LoadBalancer):
    on_error = "closed"
    def weights(self, endpoints): ...

class Plain(Filter):
    def on_request(self, request): ...
"""


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[Path]:
    (tmp_path / "p.py").write_text(POLICIES)
    yield tmp_path
    for name in [name for name in sys.modules if name.startswith("fastmesh_file_")]:
        del sys.modules[name]


def loaded(directory: Path, text: str) -> Loaded:
    (directory / "mesh.yaml").write_text(text)
    return load(str(directory / "mesh.yaml"), {}, inspect)


def problems(directory: Path, text: str) -> list[tuple[str, str]]:
    with pytest.raises(ConfigError) as caught:
        loaded(directory, text)
    return [(str(problem).replace(f"{directory}/", ""), problem.hint) for problem in caught.value.problems]


def one(use: str) -> str:
    return f"listeners: []\nclusters:\n- name: app\n  endpoints: []\n  load_balancer: {{use: {use}}}\n"


def made(directory: Path, text: str, registry: Registry | None = None) -> tuple[Any, Chains, Any]:
    found = loaded(directory, text)
    registry = registry or Registry()
    chains = Chains(found.config, found.filters, registry)
    compile(found.config, 1, registry, 1064, chains)
    return found.config, chains, describe(found.config, registry, 1064, chains)


def test_one_that_can_be_used(directory):
    config, chains, told = made(directory, one("./p.py:Fast, patience: 250ms, key: hidden, interval: 50ms"))
    slot, = chains.slots
    assert slot["settings"] == {"patience": 0.25, "key": "hidden"} and slot["phases"] == {"weights": "def"}
    assert (slot["name"], slot["on_error"], slot["budget_ns"], slot["isolated"], slot["shadow"]) == (
        "Fast@app", "open", 2_000_000, False, False)
    assert chains.balancer(0) == [0, 50_000_000] and chains.rules == [[None, 1_000_000]] and chains.chains == []
    assert told["clusters"][0]["lb"] == "./p.py:Fast"
    assert as_written(config, chains)["clusters"][0]["load_balancer"] == {
        "use": "./p.py:Fast", "pick_by": "round_robin", "interval": "50ms", "mode": "active",
        "quarantine": {"failures": 20, "window": "10s", "pause": "5s", "longest": "5m"}, "patience": "250ms",
        "key": "(secret)"}


def test_what_the_class_decides(directory):
    _, chains, _ = made(directory, one("./p.py:Hash"))
    slot, = chains.slots
    assert (slot["on_error"], slot["budget_ns"], chains.balancer(0)) == ("closed", 1_000_000, [0, 2 * 10**9])


def test_the_operator_decides_otherwise(directory):
    config, chains, _ = made(directory, one(
        "./p.py:Hash, name: h, on_error: open, budget: 5ms, mode: shadow, pick_by: random, interval: 1h"))
    slot, = chains.slots
    assert (slot["name"], slot["on_error"], slot["budget_ns"], slot["shadow"]) == ("h", "open", 5_000_000, True)
    assert config.clusters[0].load_balancer.pick_by == "random" and chains.balancer(0) == [0, 3600 * 10**9]


def test_beside_filters(directory):
    text = one("./p.py:Fast") + "  filters: [{use: ./p.py:Plain}]\n- {name: b, endpoints: [], load_balancer: random}\n"
    _, chains, told = made(directory, text + "- {name: c, endpoints: [], load_balancer: {use: ./p.py:Fast}}\n")
    assert [slot["name"] for slot in chains.slots] == ["Plain@app", "Fast@app", "Fast@c"]
    assert [chains.balancer(i) for i in range(3)] == [[1, 10**9], None, [2, 10**9]]
    assert [cluster["lb"] for cluster in told["clusters"]] == ["./p.py:Fast", "random", "./p.py:Fast"]
    assert chains.isolated() is None


def test_the_built_in_one(directory):
    _, chains, _ = made(directory, one("least-latency, least: 10%"))
    assert chains.slots[0]["settings"] == {"shortest": 0.001, "least": 0.1, "step": 0.5}


ALLOWED = "name, use, pick_by, interval, on_error, budget, mode, quarantine"


@pytest.mark.parametrize(("use", "message", "hint"), [
    ("./p.py:Nothing", "use: p.py:14:1: Nothing has neither weights nor pick, so it would never be asked, allowed: one "
     "of them, or both", "write def weights(self, endpoints)"),
    ("./p.py:Later", "use: p.py:18:5: Later.weights is async def, and a load balancer is asked between two requests, "
     "where nothing can be waited for, allowed: a method with def",
     "write def weights(self, endpoints); let a filter or another process fetch what has to be waited for, put it into "
     "fastmesh.shared, and read it here"),
    ("./p.py:Yields", "use: p.py:22:5: Yields.weights is a generator: it has a yield, allowed: a method that returns "
     "its answer", "return a list"),
    ("./p.py:Narrow", "use: p.py:26:5: Narrow.pick(self, request) cannot be called as it will be, allowed: the "
     "parameters self, request, endpoints", "write def pick(self, request, endpoints)"),
    ("./p.py:Static", "use: p.py:30:5: Static.weights is a staticmethod, allowed: a method with def",
     "write def weights(self, endpoints)"),
    ("./p.py:Needs", "use: p.py:44:5: Needs.__init__ wants size, allowed: one without arguments, or none",
     "annotated attributes are the settings; what is made of them is made in start(self)"),
    ("./p.py:Reserved", "use: p.py:40:5: Reserved.pick_by has the name of what every load balancer has, allowed: "
     "another name",
     "write pick_by = … without an annotation to decide it for the class, or choose another name"),
    ("./p.py:Never", "use: Never has no pick, and Never.on_error = 'closed' refuses requests that pick fails for, "
     "allowed: open", "weights that fail are replaced by those of the configuration; remove it"),
    ("./p.py:Fast, on_error: closed", "on_error: Fast has no pick, and on_error: closed refuses requests that pick "
     "fails for, allowed: open", "weights that fail are replaced by those of the configuration; remove it"),
    ("./p.py:Fast, on_error: skip", "on_error: found 'skip', allowed: closed or open", ""),
    ("./p.py:Fast, patence: 1s", f"unknown key 'patence': Fast has no such setting, allowed: patience, key, {ALLOWED}",
     "write patience"),
    ("./p.py:Fast, intervall: 1s", "unknown key 'intervall': Fast has no such setting, allowed: patience, key, "
     f"{ALLOWED}", "write interval"),
    ("./p.py:Fast, match: {prefix: /}", f"unknown key 'match': Fast has no such setting, allowed: patience, key, "
     f"{ALLOWED}", "remove it"),
    ("./p.py:Fast, patience: 3", "patience: found '3', allowed: a number with one of ms, s, m, h", "write 3s"),
    ("./p.py:Fast, interval: 1ms", "interval: found '1ms', allowed: from 10ms to 1h", ""),
    ("./p.py:Fast, pick_by: roundrobin", "pick_by: found 'roundrobin', allowed: round_robin, random, least_request, "
     "peak_ewma or failure_aware_ewma", "write round_robin"),
    ("./p.py:Fast, isolated: true", "isolated: a load balancer is not isolated: it is asked within the worker, and "
     "answers before the next request goes out", "remove it; what takes long or needs other libraries belongs into an "
     "isolated filter or another process, which puts what it found into fastmesh.shared for the load balancer to read"),
    ("./p.py:Plain", "use: ./p.py:Plain does not inherit from fastmesh.LoadBalancer, allowed: Fast, Hash, Nothing, "
     "Later, Yields, Narrow, Static, Alone", "a filter stands in a list of filters, as filters: [{use: ./p.py:Plain}]"),
    ("./p.py:Fsat", "use: there is no Fsat in ./p.py, allowed: Fast, Hash, Nothing, Later, Yields, Narrow, Static, "
     "Alone", "write ./p.py:Fast"),
    ("least-latancy", "use: there is no load balancer 'least-latancy' built in or installed, allowed: least-latency",
     "write least-latency"),
])
def test_what_is_wrong(directory, use, message, hint):
    (found, said), = problems(directory, one(use))
    _, _, rest = found.partition("clusters[0].load_balancer")
    assert (rest.removeprefix(".").removeprefix(": "), said) == (message, hint)
    assert found.startswith("mesh.yaml:5:")


def test_everything_that_a_class_says_wrong(directory):
    assert [found.partition("load_balancer.use: p.py:")[2].partition(",")[0]
            for found, _ in problems(directory, one("./p.py:Alone"))] == [
        "36:5: Alone.budget is '2'", "34:5: Alone.interval is '1ms'", "35:5: Alone.on_error is 'skip'",
        "33:5: Alone.isolated is True"]


def test_a_load_balancer_is_no_filter(directory):
    (found, hint), = problems(directory, "filters: [{name: a, use: ./p.py:Fast}]\nlisteners: []\n")
    assert "./p.py:Fast does not inherit from fastmesh.Filter" in found
    assert hint == "name it at a cluster, as load_balancer: {use: ./p.py:Fast}"


ALGORITHMS = "round_robin, random, least_request, peak_ewma, failure_aware_ewma, ring_hash or maglev"


@pytest.mark.parametrize(("written", "message", "hint"), [
    ("roundrobin", f"load_balancer: found 'roundrobin', allowed: {ALGORITHMS}", "write round_robin"),
    ("[random]", f"load_balancer: found a list, allowed: {ALGORITHMS}, or a mapping with use and its settings", ""),
    ("{pick_by: random}", "load_balancer: the key 'use' is missing", "add it, as use: least-latency"),
    ("{use: ''}", "load_balancer.use: found '', allowed: my_package.module:Class, ./file.py:Class, or the name of an "
     "installed filter", ""),
])
def test_what_is_wrong_without_a_class(directory, written, message, hint):
    text = f"listeners: []\nclusters: [{{name: app, endpoints: [], load_balancer: {written}}}]\n"
    (found, said), = problems(directory, text)
    assert found.endswith(f"clusters[0].{message}") and said == hint


def test_names_are_given_once(directory):
    text = one("./p.py:Fast, name: x") + "filters: [{name: x, use: ./p.py:Plain}]\n"
    (found, _), = problems(directory, text)
    assert "clusters[0].load_balancer.name: the name 'x' is taken by filters[0] on line 6" in found


def test_too_many(directory):
    text = "listeners: []\nclusters:\n" + "".join(
        f"- {{name: c{i}, endpoints: [], load_balancer: {{use: ./p.py:Fast}}}}\n" for i in range(257))
    found = problems(directory, text)
    assert any("there are 257 filters, allowed: at most 256" in one for one, _ in found)


def test_check_tells_of_it(directory, capsys):
    (directory / "mesh.yaml").write_text(one("./p.py:Hash, name: shards").replace("endpoints: []",
                                                                                 "endpoints: [127.0.0.1:1]"))
    assert main(["check", str(directory / "mesh.yaml")]) == 0
    out = capsys.readouterr().out
    assert "1 load balancer" in out and "  cluster app: balanced by shards (Hash: pick), round_robin\n" in out
