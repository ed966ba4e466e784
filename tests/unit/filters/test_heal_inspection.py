"""From the text of a configuration to its healing policies, or to all that is wrong with them, each at its place."""

from pathlib import Path

import pytest

from fastmesh.config.load import Loaded, load
from fastmesh.errors import ConfigError
from fastmesh.filters.look import look_at_filters
from fastmesh.snapshot.compiler import as_written
from fastmesh.snapshot.healers import Healers

POLICIES = '''
from fastmesh import Healer, Secret


class Restart(Healer):
    url: str
    token: Secret = Secret("")
    tries: int = 3

    async def on_ejected(self, event):
        pass


class Nothing(Healer):
    async def on_eject(self, event):
        pass


class Plain(Healer):
    def on_ejected(self, event):
        pass


class Alone(Healer):
    async def on_recovered(self):
        pass


class Later(Healer):
    async def start(self):
        pass

    async def on_ejected(self, event):
        pass


class Taken(Healer):
    timeout: int = 5

    async def on_ejected(self, event):
        pass


class Other:
    pass
'''
HEAD = """\
listeners: [{name: web, address: "127.0.0.1:1", routes: [{match: {prefix: /}, cluster: app}]}]
clusters:
  - {name: app, endpoints: ["127.0.0.1:2"], heal: %s}
"""


def loaded(tmp_path: Path, heal: str) -> Loaded:
    (tmp_path / "heal.py").write_text(POLICIES)
    (tmp_path / "mesh.yaml").write_text(HEAD % heal)
    return load(str(tmp_path / "mesh.yaml"), {}, look_at_filters)


def wrong(tmp_path: Path, heal: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        loaded(tmp_path, heal)
    return [f"{p.line}:{p.column}: {p.reason} | {p.allowed} | {p.hint}" for p in caught.value.problems]


def test_what_can_be_used(tmp_path: Path) -> None:
    found = loaded(tmp_path, "{use: ./heal.py:Restart, url: 'http://x', token: hush, at_most: 5/s, timeout: 2s}")
    assert found.filters is not None
    one = found.filters.healers["clusters", 0, "heal"]
    assert one.settings == {"url": "http://x", "token": "hush", "tries": 3}
    healers = Healers(found.config, found.filters)
    assert healers.places == {"app": 0} and healers.policies[0]["qualname"] == "Restart"
    assert b"hush" in healers.blob()
    assert "hush" not in str(as_written(found.config, None, None, healers))


def test_without_a_policy_nothing_is_loaded(tmp_path: Path) -> None:
    found = loaded(tmp_path, "{run: [/bin/true]}")
    assert found.filters is None
    assert Healers(found.config, None).blob() == b""


@pytest.mark.parametrize(("heal", "said"), [
    ("{}", "it does not say what is done | run or use"),
    ("{run: [/bin/true], use: ./heal.py:Restart, url: x}", "there is use already"),
    ("{run: [/bin/true], url: x}", "3:70: unknown key 'url'"),
    ("{runn: [/bin/true]}", "write run"),
    ("{run: [restart]}", "the whole path of a program"),
    ("{use: ./heal.py:Restart}", "the setting 'url' of Restart is missing"),
    ("{use: ./heal.py:Restart, url: x, tris: 5}", "write tries"),
    ("{use: ./heal.py:Restart, url: x, tries: many}", "a whole number"),
    ("{use: ./heal.py:Nothing}", "has neither on_ejected nor on_recovered"),
    ("{use: ./heal.py:Nothing}", "rename on_eject"),
    ("{use: ./heal.py:Plain}", "heal.py:20:5: Plain.on_ejected is no async def"),
    ("{use: ./heal.py:Alone}", "heal.py:25:5: Alone.on_recovered cannot be called with an event"),
    ("{use: ./heal.py:Later}", "heal.py:30:5: Later.start cannot be called as it will be"),
    ("{use: ./heal.py:Taken}", "has the name of what every healing policy has"),
    ("{use: ./heal.py:Other}", "does not inherit from fastmesh.Healer"),
    ("{use: ./heal.py:Restar}", "Restar"),
    ("{use: webhok}", "write webhook"),
    ("{use: ' '}", "webhook, or the name of an installed healing policy"),
])
def test_what_is_wrong(tmp_path: Path, heal: str, said: str) -> None:
    found = wrong(tmp_path, heal)
    assert any(said in line for line in found), found
