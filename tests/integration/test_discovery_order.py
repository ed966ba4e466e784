"""Two workers, and sets that come one after the other, too fast, again, or while somebody dies: both have the last."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest
from effort import IS_LONG, TIMES
from integration.harness import Callers, Origin, origins, until
from integration.test_discovery import Mesh

NAMES = "abcde"


@pytest.fixture
def all_five() -> Iterator[list[Origin]]:
    with origins(*NAMES) as made:
        yield made


def expect_last(mesh: Mesh, found: list[Origin]) -> None:
    """It is live, in each worker, and no request goes anywhere else."""
    wanted = sorted(one.address for one in found)

    def is_everywhere() -> bool:
        live = mesh.sidecar.stats()["snapshot"]["version"]
        workers = mesh.sidecar.workers()
        return (mesh.addresses() == wanted and len(workers) == 2
                and all(worker["state"] == "serving" and worker["snapshot"] == live for worker in workers))
    until(is_everywhere, "both workers with the last set")
    # Each on a connection of its own, so by either worker.
    assert {mesh.ask().text for _ in range(24)} == {one.name for one in found}


class Course:
    """What happens to a mesh, drawn by a seed."""

    def __init__(self, mesh: Mesh, services: list[Origin], seed: int) -> None:
        self.mesh, self.services = mesh, services
        self.rng = Random(seed)
        self.kills = 2      # more of them, and who dies is started again after a pause

    def serving(self) -> list[int]:
        """Both workers."""
        def found() -> list[int]:
            return [worker["pid"] for worker in self.mesh.sidecar.workers() if worker["state"] == "serving"]
        until(lambda: len(found()) == 2)
        return found()

    def some(self) -> list[Origin]:
        return self.rng.sample(self.services, self.rng.randint(1, len(self.services)))

    def says(self) -> None:
        self.mesh.tell(*self.some())

    def says_and_waits(self) -> None:
        found = self.some()
        self.mesh.tell(*found)
        until(lambda: self.mesh.addresses() == sorted(one.address for one in found))

    def says_the_same_again(self) -> None:
        found = self.some()
        for _ in range(3):
            self.rng.shuffle(found)
            self.mesh.tell(*found)
            until(lambda: self.mesh.addresses() == sorted(one.address for one in found))

    def says_much(self) -> None:
        for _ in range(8):
            self.says()

    def says_what_is_wrong(self) -> None:
        before = self.mesh.errors("raised")
        self.mesh.tell("raise")
        until(lambda: self.mesh.errors("raised") > before)

    def host_dies(self) -> None:
        """It may have said what control has not read, and what it says next it has said before."""
        self.says()
        if self.kills and (hosts := self.mesh.hosts()):
            self.kills -= 1
            os.kill(hosts[0], signal.SIGKILL)

    def worker_dies(self) -> None:
        self.says()
        if self.kills:
            self.kills -= 1
            killed = self.rng.choice(self.serving())
            os.kill(killed, signal.SIGKILL)
            until(lambda: killed not in self.mesh.sidecar.worker_pids())

    def worker_stands_still(self) -> None:
        """One set is on its way to it when the next comes."""
        stopped = self.rng.choice(self.serving())
        os.kill(stopped, signal.SIGSTOP)
        try:
            self.says()
            self.mesh.sidecar.stats()
            self.says()
        finally:
            os.kill(stopped, signal.SIGCONT)

    def file_is_read_again(self) -> None:
        self.says()
        self.mesh.sidecar.reload()


STEPS = (Course.says, Course.says_and_waits, Course.says_the_same_again, Course.says_much, Course.says_what_is_wrong,
         Course.host_dies, Course.worker_dies, Course.worker_stands_still, Course.file_is_read_again)


@pytest.mark.parametrize("seed", range(10 * TIMES if IS_LONG else 2))
def test_both_workers_end_with_the_last_set(tmp_path: Path, all_five: list[Origin], reactor: str, seed: int) -> None:
    mesh = Mesh(tmp_path, reactor, all_five[0], workers=2)
    with mesh.sidecar:
        course = Course(mesh, all_five, seed)
        for i, step in enumerate(course.rng.sample(STEPS, len(STEPS))):
            step(course)
            if i % 4 == 0:
                last = course.some()
                mesh.tell(*last)
                expect_last(mesh, last)


def test_a_set_that_is_overtaken_harms_no_request(tmp_path: Path, all_five: list[Origin], reactor: str) -> None:
    """A worker stands still with one set on its way to it; when it goes on, it passes over to the last one."""
    mesh = Mesh(tmp_path, reactor, *all_five[:2], workers=2)
    with mesh.sidecar:
        for stopped in mesh.sidecar.worker_pids():
            os.kill(stopped, signal.SIGSTOP)
            try:
                for found in (all_five[1:3], all_five[2:4]):
                    mesh.tell(*found)
                    mesh.sidecar.stats()
            finally:
                os.kill(stopped, signal.SIGCONT)
            expect_last(mesh, all_five[2:4])
            mesh.tell(*all_five[:2])
            expect_last(mesh, all_five[:2])
        with Callers(mesh.port, count=2) as callers:
            for found in (all_five[:1], all_five[1:2], all_five[2:3]) * 4:
                mesh.tell(*found)
                callers.more(4)
            expect_last(mesh, all_five[2:3])
        assert callers.failures == []
        assert mesh.sidecar.metrics()["fastmesh_snapshots_refused_total"] == 0
