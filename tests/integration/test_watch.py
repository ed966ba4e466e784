"""`fastmesh run --watch`: files that have changed are read again, and nobody has to say so."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from integration.harness import Origin, Sidecar, ask, cluster, free_port, http_listener, origins, until


@pytest.fixture
def watching(tmp_path: Path) -> Iterator[Sidecar]:
    one = Sidecar(tmp_path, {})
    one.options = ["--watch"]
    yield one
    assert one.stop() == 0, one.log


def config_of(port: int, origin: Origin, **more: Any) -> dict[str, Any]:
    return {"listeners": [{**http_listener(port, "app"), **more}], "clusters": [cluster("app", origin.address)]}


def test_a_changed_configuration_is_live(watching: Sidecar) -> None:
    port = free_port()
    with origins("old", "new") as (old, new):
        watching.write(config_of(port, old))
        watching.start()
        assert ask(port, "/").text == "old"
        watching.write(config_of(port, new))
        until(lambda: "snapshot 2 is live (a file has changed)" in watching.log, "the new file is live")
        assert ask(port, "/").text == "new"


def test_the_files_of_filters_are_watched_too(watching: Sidecar, origin: Origin) -> None:
    """Also those of a configuration that could not be used: that is where somebody is at work."""
    port = free_port()
    watching.write(config_of(port, origin))
    watching.start()
    watching.write(config_of(port, origin, filters=[{"use": "./mine.py:Mine"}]))
    until(lambda: "the file ./mine.py cannot be read" in watching.log, "the missing file is reported")
    (watching.directory / "mine.py").write_text("1 / 0\n")
    until(lambda: "mine.py:1: ZeroDivisionError" in watching.log, "the file that has come is read")
    (watching.directory / "mine.py").write_text("import no_such_thing_at_all\n")
    until(lambda: "No module named 'no_such_thing_at_all'" in watching.log, "the changed file is read")
    assert "reload (a file has changed) refused, snapshot 1 stays live" in watching.log
    assert ask(port, "/").status == 200


def test_packages_of_filters_are_watched_too(watching: Sidecar, origin: Origin) -> None:
    package = watching.directory / "shop_filters"
    package.mkdir()
    (package / "__init__.py").write_text("")
    source = """
from fastmesh import Filter, Request, Response


class Closed(Filter):
    def on_request(self, request: Request) -> Response:
        return Response(503, text="{}")
"""
    (package / "doors.py").write_text(source.format("closed"))
    port = free_port()
    watching.env["PYTHONPATH"] = str(watching.directory)
    watching.write(config_of(port, origin, filters=[{"use": "shop_filters.doors:Closed"}]))
    watching.start()
    assert ask(port, "/").text == "closed"
    (package / "doors.py").write_text(source.format("back at nine"))
    until(lambda: "snapshot 2 is live (a file has changed)" in watching.log, "the changed package is live")
    assert ask(port, "/").text == "back at nine"
    (package / "doors.py").write_text("1 / 0\n")
    until(lambda: "doors.py:1: ZeroDivisionError" in watching.log, "the broken package is read")
    (package / "doors.py").write_text(source.format("open soon"))
    until(lambda: ask(port, "/").text == "open soon", "the mended package is read")
