"""Priorities and zones of endpoints that a policy finds, in real processes."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from integration.harness import Sidecar, ask, free_port, until
from integration.service import Service

Make = Callable[..., list[Service]]


class Found:
    """A file of endpoints, and what a sidecar with it answers."""

    def __init__(self, file: Path, start: Callable[..., Sidecar], *first: dict[str, Any], zone: str = "",
                 **balancing: Any) -> None:
        self.file, self.port = file, free_port()
        self.tell(*first)
        self.proxy = start({
            "node": {"zone": zone} if zone else {},
            "listeners": [{"name": "web", "address": f"127.0.0.1:{self.port}",
                           "routes": [{"match": {"prefix": "/"}, "cluster": "app"}]}],
            "clusters": [{"name": "app", "balancing": balancing, "avoid": {"base": "1h", "max": "1h"},
                          "endpoints": {"use": "file", "path": str(file), "interval": "10ms", "debounce": "10ms"}}]})

    def tell(self, *endpoints: dict[str, Any]) -> None:
        fresh = self.file.with_suffix(".new")
        fresh.write_text(json.dumps(endpoints))
        fresh.replace(self.file)

    def who(self, count: int = 24) -> set[str]:
        """So many that two who share the requests are not one by chance."""
        return {ask(self.port, "/").text for _ in range(count)}


def test_a_lower_priority_waits(sidecar: Callable[..., Sidecar], services: Make, tmp_path: Path) -> None:
    a, b, c = services("a", "b", "c")
    found = Found(tmp_path / "found.json", sidecar, {"address": a.address, "priority": 1}, {"address": b.address},
                  {"address": c.address, "priority": 2})
    assert found.who() == {"b"}
    shown = {one["address"]: one.get("priority", 0) for one in found.proxy.admin("/clusters").json[0]["endpoints"]}
    assert shown == {a.address: 1, b.address: 0, c.address: 2}
    b.close()
    until(lambda: found.who() == {"a"})
    # It changes its mind; and nobody is preferred any more.
    found.tell({"address": a.address, "priority": 9}, {"address": c.address})
    until(lambda: found.who() == {"c"})
    found.tell({"address": a.address}, {"address": c.address})
    until(lambda: found.who() == {"a", "c"})
    # A reload of the same file keeps what was found.
    found.tell({"address": a.address}, {"address": c.address, "priority": 1})
    until(lambda: found.who() == {"a"})
    found.proxy.reload()
    assert found.who() == {"a"}


def test_the_own_zone_is_preferred(sidecar: Callable[..., Sidecar], services: Make, tmp_path: Path) -> None:
    a, b = services("a", "b")
    found = Found(tmp_path / "found.json", sidecar, {"address": a.address, "zone": "eu-1a"},
                  {"address": b.address, "zone": "eu-1b"}, zone="eu-1b", prefer_zone=True)
    assert found.who() == {"b"}
    found.tell({"address": a.address, "zone": "eu-1b"}, {"address": b.address})
    until(lambda: found.who() == {"a"})
    a.close()
    until(lambda: found.who() == {"b"})
