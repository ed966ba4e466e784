"""Healing policies on their way to the processes that run them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastmesh.config.model import Config
from fastmesh.snapshot.chains import HIDDEN, import_paths

if TYPE_CHECKING:
    from fastmesh.filters.inspection import Inspected


class Healers:
    """One for each cluster that has a policy in place of a command, in the order of the file."""

    def __init__(self, config: Config, inspected: Inspected | None) -> None:
        """Raises ValueError when the configuration has policies that nobody looked at."""
        self.policies: list[dict[str, Any]] = []
        self.places: dict[str, int] = {}        # cluster → place of its policy
        self._files: dict[str, str] = {}
        self._secrets: list[tuple[int, frozenset[str]]] = []
        for i, cluster in enumerate(config.clusters):
            if cluster.heal is None or cluster.heal.use is None:
                continue
            if inspected is None:
                raise ValueError("the configuration has healing policies, and their classes were not looked at")
            found = inspected.healers[("clusters", i, "heal")]
            loaded = found.loaded
            if loaded.kind == "file":
                self._files[loaded.fingerprint] = loaded.source
            if found.secrets:
                self._secrets.append((i, found.secrets))
            self.places[cluster.name] = len(self.policies)
            self.policies.append({
                "name": cluster.name, "kind": loaded.kind, "module": loaded.module, "qualname": loaded.qualname,
                "file": loaded.file, "fingerprint": loaded.fingerprint, "settings": found.settings})

    def blob(self) -> bytes:
        """For those processes; empty when there is no policy."""
        if not self.policies:
            return b""
        from fastmesh.filters.blob import pack

        return pack({"policies": self.policies, "files": self._files, "paths": import_paths()})

    def hide_secrets(self, written: dict[str, Any]) -> None:
        """Takes out of a configuration as it is shown what nobody is shown."""
        for i, names in self._secrets:
            heal = written["clusters"][i]["heal"]
            for name in names & heal.keys():
                heal[name] = HIDDEN
