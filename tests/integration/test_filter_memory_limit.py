"""What filters of a worker may allocate, in real processes, with other traffic that notices nothing."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from adversity.test_bad_filters import Neighbour
from integration.harness import Origin, Sidecar, ask, cluster, free_port, http_listener, until

Start = Callable[..., Sidecar]

FILTER = """
import threading

from fastmesh import Filter, Response

KEPT = []


class Hungry(Filter):
    def on_request(self, request):
        what = request.path.strip("/")
        if what == "huge":
            b"x" * 10 ** 11
        elif what == "keep":
            KEPT.append(bytearray(1 << 20))
        elif what == "small":
            KEPT.extend([{"n": n} for n in range(20_000)])
        elif what == "thread":
            found = []

            def run():
                try:
                    found.append(len(bytearray(200 << 20)))
                except MemoryError:
                    found.append("refused")

            thread = threading.Thread(target=run)
            thread.start()
            thread.join()
            return Response(200, text=str(found))


class Modest(Filter):
    def on_request(self, request):
        return Response(200, text=str(len(bytearray(1 << 20))))
"""


class Case:
    def __init__(self, sidecar: Start, origin: Origin, directory: Path, **more: Any) -> None:
        file = directory / "hungry.py"
        file.write_text(FILTER)
        self.sick, self.modest, self.well = free_port(), free_port(), free_port()
        self.proxy = sidecar({
            "drain_timeout": "2s", **more,
            "listeners": [
                http_listener(self.sick, "app", "sick", filters=[{"name": "hungry", "use": f"{file}:Hungry",
                                                                  "on_error": "closed", "budget": "500ms"}]),
                http_listener(self.modest, "app", "modest", filters=[{"name": "modest", "use": f"{file}:Modest"}]),
                http_listener(self.well, "app", "well")],
            "clusters": [cluster("app", origin.address)]})
        self.pid = self.proxy.worker_pids()[0]

    def events(self, what: str) -> list[dict[str, Any]]:
        return [event for event in self.proxy.admin("/events").json if event["what"] == what]


def test_more_than_there_is_is_an_error_of_the_filter(sidecar: Start, origin: Origin, tmp_path: Path) -> None:
    case = Case(sidecar, origin, tmp_path, filter_memory="128MiB")
    with Neighbour(case.well).asks():
        for _ in range(3):
            assert ask(case.sick, "/huge").status == 503
        assert ask(case.sick, "/").status == 200
        assert ask(case.modest, "/").text == str(1 << 20)
    (told,) = case.events("filter_error")
    assert told["filter"] == "hungry" and "MemoryError" in told["text"] and 'b"x" * 10 ** 11' in told["text"]
    # It keeps nothing: the worker stays.
    assert case.proxy.worker_pids() == [case.pid] and case.events("filter_memory") == []


@pytest.mark.parametrize("what", ["keep", "small"])
def test_a_filter_that_keeps_all_there_is_loses_its_worker(sidecar: Start, origin: Origin, tmp_path: Path,
                                                           what: str) -> None:
    case = Case(sidecar, origin, tmp_path, filter_memory="64MiB")
    with Neighbour(case.well).asks():
        until(lambda: ask(case.sick, f"/{what}").status == 503, "it comes to the limit")
        ask(case.sick, "/")
        until(lambda: case.proxy.worker_pids() not in ([], [case.pid]), "another worker is there")
        # Nothing that others keep is lost with it, and it is not asked for a while.
        assert ask(case.modest, "/").text == str(1 << 20)
        assert ask(case.sick, "/").status == 503
        until(lambda: ask(case.sick, "/").status == 200, "it is tried again", 20)
    (told,) = case.events("filter_memory")
    assert told["filter"] == "hungry" and "64 MiB (`filter_memory`), and it asked for more" in told["text"]
    assert "filter hungry, which asked for more, is bypassed for 5 s" in case.proxy.log
    assert case.proxy.metrics()["fastmesh_worker_restarts_total"] == 0


def test_threads_of_filters_are_bound_as_well(sidecar: Start, origin: Origin, tmp_path: Path) -> None:
    case = Case(sidecar, origin, tmp_path, filter_memory="128MiB")
    assert ask(case.sick, "/thread").text == "['refused']"


def test_there_may_be_no_limit(sidecar: Start, origin: Origin, tmp_path: Path) -> None:
    case = Case(sidecar, origin, tmp_path, filter_memory="0")
    assert ask(case.sick, "/thread").text == f"[{200 << 20}]"
    text = case.proxy.path.read_text().replace('"filter_memory": "0"', '"filter_memory": "128MiB"')
    case.proxy.write_text(text)
    case.proxy.reload()
    assert ask(case.sick, "/thread").text == "['refused']"     # a reload binds those that run
