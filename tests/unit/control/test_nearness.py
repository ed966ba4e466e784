"""What is told of a cluster that comes near a limit: once for each time that it does."""

import os
from types import SimpleNamespace
from typing import Any

from fastmesh.control.nearness import CALM_SECONDS, Nearness
from fastmesh.observe.events import Events
from fastmesh.observe.journal import Journal


class Health:
    """In place of the pages that workers write."""

    def __init__(self) -> None:
        self.count = 0
        self.seconds = {"requests": 0, "pending": 0, "connections": 0, "retries": 0}

    def mark(self, counted: str, second: int) -> None:
        self.seconds[counted] = second
        self.count += 1

    def near_count(self) -> int:
        return self.count

    def near(self, row: int) -> dict[str, int]:
        return self.seconds if row == 7 else dict.fromkeys(self.seconds, 0)

    def highest(self, row: int) -> dict[str, int]:
        return dict.fromkeys(self.seconds, 9)


def test_episodes() -> None:
    health, events = Health(), Events(Journal(os.open(os.devnull, os.O_WRONLY)))
    ground: Any = SimpleNamespace(
        health=health, live=SimpleNamespace(cluster_limits={7: {"max_requests": 10, "max_connections": 3}, 8: {}}),
        names=SimpleNamespace(clusters={7: "app"}), events=events)
    nearness = Nearness(ground)

    def told() -> list[tuple[Any, ...]]:
        return [(event["cluster"], event["limit"], event["most_used"]) for event in events]

    nearness.look(100.0)
    assert told() == []
    health.mark("requests", 100)
    nearness.look(100.5)
    assert told() == [("app", "max_requests", 9)]
    # It goes on, which is the same episode.
    for second in range(101, 130):
        health.mark("requests", second)
        nearness.look(second + 0.5)
    assert len(told()) == 1
    nearness.look(130.0 + CALM_SECONDS)
    health.mark("requests", 150)
    nearness.look(150.5)
    assert len(told()) == 2
    # No limit, no event.
    health.mark("retries", 151)
    nearness.look(151.5)
    assert len(told()) == 2


def test_what_was_long_ago_is_not_told() -> None:
    health, events = Health(), Events(Journal(os.open(os.devnull, os.O_WRONLY)))
    ground: Any = SimpleNamespace(health=health, live=SimpleNamespace(cluster_limits={7: {"max_requests": 10}}),
                                  names=SimpleNamespace(clusters={7: "app"}), events=events)
    health.mark("requests", 100)
    Nearness(ground).look(200.0)
    assert list(events) == []
