"""From the text of a configuration to its discovery policies, or to all that is wrong with them, each at its place."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fastmesh.config.load import Loaded, load
from fastmesh.errors import ConfigError
from fastmesh.filters.look import look_at_filters

POLICIES = '''\
from fastmesh import Discovery, Duration, Filter, Secret

class Good(Discovery):
    url: str
    key: Secret = "none"
    interval: Duration = 1.0
    async def endpoints(self):
        yield []

class Misspelled(Discovery):
    async def endpoint(self):
        yield []

class Plain(Discovery):
    def endpoints(self):
        return []

class NoYield(Discovery):
    async def endpoints(self):
        return []

class Wants(Discovery):
    async def endpoints(self, cluster):
        yield []
    async def start(self):
        pass
    def __init__(self, registry):
        pass

class Taken(Discovery):
    debounce: int = 1
    own: object = None
    count: int = "many"
    async def endpoints(self):
        yield []

class Gate(Filter):
    def on_request(self, request): ...
'''


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[Path]:
    (tmp_path / "d.py").write_text(POLICIES)
    yield tmp_path
    for name in [name for name in sys.modules if name.startswith("fastmesh_file_")]:
        del sys.modules[name]


def text(*endpoints: str) -> str:
    return "listeners: []\nclusters:\n" + "".join(f"- {{name: c{i}, endpoints: {one}}}\n"
                                                  for i, one in enumerate(endpoints))


def loaded(directory: Path, *endpoints: str, **env: str) -> Loaded:
    (directory / "mesh.yaml").write_text(text(*endpoints))
    return load(str(directory / "mesh.yaml"), env, look_at_filters)


def problems(directory: Path, *endpoints: str) -> list[tuple[str, str]]:
    with pytest.raises(ConfigError) as caught:
        loaded(directory, *endpoints)
    return [(str(problem).replace(f"{directory}/", ""), problem.hint) for problem in caught.value.problems]


def test_a_policy_and_its_settings(directory):
    found = loaded(directory, "{use: ./d.py:Good, url: http://a, key: '${KEY}', interval: 250ms, first_wait: 1s}", "[]",
                   "{use: file, path: /run/x}", KEY="s3cret")
    good = found.filters.discoveries["clusters", 0, "endpoints"]
    assert good.settings == {"url": "http://a", "key": "s3cret", "interval": 0.25} and good.secrets == {"key"}
    assert good.loaded.cls.__name__ == "Good"
    assert found.filters.discoveries["clusters", 2, "endpoints"].settings == {
        "path": "/run/x", "interval": 1.0, "format": "auto"}
    use = found.config.clusters[0].discovery
    assert use is not None and use.first_wait == 10**9 and not use.allow_empty
    assert found.config.clusters[0].listed == [] and found.config.clusters[1].discovery is None
    assert [str(warning) for warning in found.warnings if "no endpoints" in str(warning)] == [
        f"{directory}/mesh.yaml:4:25: clusters[1].endpoints: the cluster 'c1' has no endpoints: requests to it get 503"]


@pytest.mark.parametrize(("endpoints", "said", "hint"), [
    ("{path: /x}", "mesh.yaml:3:25: clusters[0].endpoints: the key 'use' is missing",
     "add it, as use: my_package.registry:FromRegistry"),
    ("{use: ' '}", "mesh.yaml:3:31: clusters[0].endpoints.use: found ' ', allowed: my_package.module:Class, "
     "./file.py:Class, file, dns, or the name of an installed discovery policy", ""),
    ("{use: filee, path: /x}", "mesh.yaml:3:31: clusters[0].endpoints.use: there is no discovery policy 'filee' built "
     "in or installed, allowed: dns, file", "write file"),
    ("{use: file}", "mesh.yaml:3:25: clusters[0].endpoints: the setting 'path' of File is missing", "add path"),
    ("{use: file, path: /x, intervall: 1s}", "mesh.yaml:3:47: clusters[0].endpoints: unknown key 'intervall': File has "
     "no such setting, allowed: path, interval, format, use, first_wait, allow_empty, debounce, max_silence",
     "write interval"),
    ("{use: file, path: /x, interval: 1}", "mesh.yaml:3:57: clusters[0].endpoints.interval: found '1', allowed: a "
     "number with one of ms, s, m, h", "write 1s"),
    ("{use: file, path: /x, first_wait: 6m}", "mesh.yaml:3:59: clusters[0].endpoints.first_wait: found '6m', allowed: "
     "at most 5m", ""),
    ("{use: file, path: /x, allow_empty: yes}", "mesh.yaml:3:60: clusters[0].endpoints.allow_empty: found 'yes', "
     "allowed: true or false", "write true"),
    ("{use: ./d.py:Gate}", "mesh.yaml:3:31: clusters[0].endpoints.use: ./d.py:Gate does not inherit from "
     "fastmesh.Discovery, allowed: Good, Misspelled, Plain, NoYield, Wants, Taken",
     "a filter stands in a list of filters, as filters: [{use: ./d.py:Gate}]"),
    ("{use: ./d.py:Misspelled}", "mesh.yaml:3:31: clusters[0].endpoints.use: d.py:10:1: Misspelled has no method "
     "endpoints, allowed: async def endpoints(self) -> AsyncIterator[Endpoints], with yield in it", "rename endpoint"),
    ("{use: ./d.py:Plain}", "mesh.yaml:3:31: clusters[0].endpoints.use: d.py:15:5: Plain.endpoints is no async def, "
     "allowed: an async generator",
     "write async def endpoints(self) -> AsyncIterator[Endpoints], with yield in it"),
    ("{use: ./d.py:NoYield}", "mesh.yaml:3:31: clusters[0].endpoints.use: d.py:19:5: NoYield.endpoints has no yield, "
     "allowed: an async generator",
     "write async def endpoints(self) -> AsyncIterator[Endpoints], with yield in it"),
    ("{use: ./missing.py:X}", "mesh.yaml:3:31: clusters[0].endpoints.use: the file ./missing.py cannot be read: No "
     "such file or directory", None)])
def test_what_is_wrong_is_said_at_its_place(directory, endpoints, said, hint):
    found, = problems(directory, endpoints)
    assert found[0] == said and (hint is None or found[1] == hint)


def test_all_that_is_wrong_with_a_class_comes_at_once(directory):
    assert [one[0].partition("use: ")[2] for one in problems(directory, "{use: ./d.py:Wants}")] == [
        "d.py:23:5: Wants.endpoints wants cluster, allowed: self alone",
        "d.py:25:5: Wants.start cannot be called as it will be, allowed: a method with def, and self alone",
        "d.py:27:5: Wants.__init__ wants registry, allowed: one without arguments, or none"]
    said = [one[0].partition("use: ")[2] for one in problems(directory, "{use: ./d.py:Taken}", "{use: ./d.py:Taken}")]
    assert len(said) == 3
    assert said[0].startswith("d.py:32:5: Taken.own is no setting: it has the type object, allowed: ")
    assert said[1] == "d.py:31:5: Taken.debounce has the name of what every discovery policy has, allowed: another name"
    assert said[2] == "d.py:33:5: the default of Taken.count is 'many', allowed: a whole number"


def test_nothing_of_it_runs(directory):
    (directory / "d.py").write_text(POLICIES + "\nprint('here')\nraise SystemExit(3)\n")
    found, = problems(directory, "{use: ./d.py:Good, url: x}")
    assert found[0] == "mesh.yaml:3:31: clusters[0].endpoints.use: d.py:41: it called sys.exit(3)"


def test_what_a_module_prints_is_a_warning(directory):
    (directory / "d.py").write_text(POLICIES + "\nprint('here')\n")
    found = loaded(directory, "{use: ./d.py:Good, url: x}")
    assert "Good's module prints while it is imported: 'here'" in [warning.reason for warning in found.warnings]


def test_what_a_policy_is_given_is_no_setting(directory):
    (directory / "e.py").write_text("from fastmesh import Discovery\n\nclass Given(Discovery):\n    metrics: str\n"
                                    "    mesh: str = 'none'\n    async def endpoints(self):\n        yield []\n")
    said = [message.partition("use: ")[2] for message, _ in problems(directory, "{use: ./e.py:Given}")]
    assert said == [f"{at}: Given.{name} has the name of what every discovery policy has, allowed: another name"
                    for at, name in (("e.py:4:5", "metrics"), ("e.py:5:5", "mesh"))]
