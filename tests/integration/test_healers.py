"""Healing policies in real processes: told of what happens, bounded, and never in anybody's way."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from integration.harness import Sidecar, ask, children, free_port, until
from integration.service import Service
from integration.test_healing import events
from integration.test_health_checks import config, is_sick, is_well, wait_health

Start = Callable[..., Sidecar]
POLICY = '''
import asyncio
import json
import os
import time
from pathlib import Path

from fastmesh import Healer


class Writes(Healer):
    path: str
    how: str = "well"

    def start(self):
        if self.how == "start":
            raise ValueError("settings that contradict each other")

    async def on_ejected(self, event):
        self.log.info(f"asked about {event.endpoint}")
        if self.how == "raise":
            raise LookupError("nobody is there")
        if self.how == "kill":
            os.kill(os.getpid(), 9)
        if self.how == "block":
            time.sleep(600)
        await self.write(event)

    async def on_recovered(self, event):
        await self.write(event)

    async def write(self, event):
        await asyncio.sleep(0)
        with Path(self.path).open("a") as file:
            file.write(json.dumps([event.kind, event.cluster, event.endpoint, event.reason, event.why, event.times,
                                   os.getpid()]) + "\\n")
'''


@pytest.fixture
def healed(sidecar: Start, services: Callable[..., list[Service]], tmp_path: Path) -> Callable[..., Any]:
    """A sidecar with a policy, one endpoint that is found dead, and the file that the policy writes."""
    (tmp_path / "heal.py").write_text(POLICY)
    said = tmp_path / "said"

    def make(**heal: Any) -> tuple[Sidecar, Service, Path, int]:
        good, sick = services("good", "sick")
        port = free_port()
        one = sidecar(config(port, [good.address, sick.address], cluster={"heal": {
            "use": f"{tmp_path}/heal.py:Writes", "path": str(said), "at_most": "1000000/s", **heal}}))
        sick.reply = is_sick
        wait_health(one, sick.address, "unhealthy")
        return one, sick, said, port
    return make


def heals(one: Sidecar) -> dict[str, float]:
    return {name.partition('result="')[2].removesuffix('"}'): value for name, value in one.metrics().items()
            if name.startswith("fastmesh_heals_total")}


def test_it_is_told_of_both(healed: Callable[..., Any]) -> None:
    one, sick, said, _ = healed()
    # Each runs in a process of its own: one that begins later may be done before.
    until(lambda: said.exists() and said.read_text().endswith("\n"), "the first is told", 20)
    sick.reply = is_well
    wait_health(one, sick.address, "healthy")
    until(lambda: said.exists() and len(said.read_text().splitlines()) == 2, "both are told", 20)
    first, second = (json.loads(line) for line in said.read_text().splitlines())
    assert first[:6] == ["unhealthy", "app", sick.address, "check", "HTTP 503, expected 200-299", 1]
    assert second[:4] == ["healthy", "app", sick.address, "check"]
    assert len({first[6], second[6], one.pid}) == 3      # each in a process of its own
    until(lambda: heals(one).get("done") == 2, "both are counted")
    assert [e["text"] for e in events(one, "heal_log")] == [f"asked about {sick.address}"]
    assert all("Writes runs for" in e["text"] for e in events(one, "heal"))
    until(lambda: len(children(one.pid)) == 1, "nothing is left but the worker")


@pytest.mark.parametrize(("how", "text"), [
    ("raise", "LookupError: nobody is there"), ("start", "ValueError: settings that contradict each other"),
    ("kill", "killed by SIGKILL"), ("block", "killed by SIGKILL")])
def test_one_that_fails_is_told_of_and_counted(healed: Callable[..., Any], how: str, text: str) -> None:
    one, _, said, port = healed(how=how, timeout="1s" if how == "block" else "30s")
    failed = until(lambda: events(one, "heal_failed"), "it is told", 20)
    assert "has failed" in failed[0]["text"] and text in failed[0]["text"]
    assert heals(one)["failed"] == 1 and not said.exists()
    assert ask(port, "/").text == "good"


def test_to_look_first(healed: Callable[..., Any]) -> None:
    one, sick, said, _ = healed(dry_run="true")
    watched = until(lambda: events(one, "heal_watched"), "it is told")
    assert watched[0]["text"].endswith(f"would be run for unhealthy {sick.address}")
    assert heals(one)["watched"] == 1 and not said.exists()


def test_no_more_often_than_may_be(healed: Callable[..., Any]) -> None:
    one, sick, said, _ = healed(at_most="1/h")
    sick.reply = is_well
    wait_health(one, sick.address, "healthy")
    skipped = until(lambda: events(one, "heal_skipped"), "it is told")
    assert "more often than at_most allows" in skipped[0]["text"]
    until(said.exists, "the first one has run", 20)
    assert len(said.read_text().splitlines()) == 1 and heals(one)["skipped"] == 1
