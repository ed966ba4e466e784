"""A sidecar that begins as a copy is what the command starts, as far as the kernel and the proxy tell."""

import os
import re
import signal
from pathlib import Path
from typing import Any

import pytest
from effort import IS_LONG
from integration.harness import Origin, Sidecar, ask, cluster, free_port, http_listener


def seen(one: Sidecar) -> dict[str, Any]:
    """Of control: its name, signals and descriptors, where it stands, what it has started, what it says of itself."""
    def plain(text: str) -> str:
        return re.sub(r"\d+", "N", text.replace(str(one.directory), ""))

    status = Path(f"/proc/{one.pid}/status").read_text()
    return {
        "status": re.findall(r"^(?:Name|Sig(?:Blk|Ign|Cgt)|Threads|Umask|NoNewPrivs):.*$", status, re.M),
        # Of each kind, not how many: a connection of the test's own may still be about to be closed.
        "files": {plain(os.readlink(entry)) for entry in Path(f"/proc/{one.pid}/fd").iterdir()},
        "directory": os.readlink(f"/proc/{one.pid}/cwd"),
        "children": sorted(Path(f"/proc/{pid}/comm").read_text() for pid in one.descendants()),
        "log": plain(one.log),
        "metrics": sorted(map(plain, one.metrics())),
    }


@pytest.mark.skipif(IS_LONG, reason="all of them are the command")
def test_it_is_as_the_command(tmp_path: Path, origin: Origin, reactor: str) -> None:
    found = []
    for is_warm in (False, True):
        directory = tmp_path / str(is_warm)
        directory.mkdir()
        port = free_port()
        with Sidecar(directory, {"listeners": [http_listener(port, "app")],
                                 "clusters": [cluster("app", origin.address)]}, reactor, is_warm) as one:
            assert ask(port, "/").text == "origin"
            found.append(seen(one))
            one.signal(signal.SIGTERM)
            assert one.wait() == 0
    assert found[0] == found[1]
