"""The file that the words are about."""

from collections.abc import Iterator

from fastmesh.config.checks import Finder
from fastmesh.config.load import Loaded
from fastmesh.config.report import Path


class File:
    """A configuration, and where its parts stand."""

    def __init__(self, loaded: Loaded, find: Finder, name: str) -> None:
        self.loaded = loaded
        self.config = loaded.config
        self.find = find
        self.name = name

    def place(self, path: Path) -> str:
        """`mesh.yaml:12`."""
        return f"{self.name}:{self.find.line(path)}"

    def policies(self, names: list[str], indent: str = "") -> Iterator[str]:
        """Those that a listener, route or cluster takes over."""
        places = {policy.name: i for i, policy in enumerate(self.config.policies)}
        if names:
            shown = ", ".join(f"{name} ({self.place(('policies', places[name]))})" for name in names)
            yield f"{indent}policies: {shown}"
