"""Discovery policies on their way to the process that runs them, and what control is told of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastmesh.config.model import Config
from fastmesh.snapshot import wire
from fastmesh.snapshot.chains import HIDDEN, import_paths

if TYPE_CHECKING:
    from fastmesh.filters.inspection import Inspected
    from fastmesh.filters.policy_inspection import PolicyFound

_SECOND = 1_000_000_000


class Discoveries:
    """One for each cluster that has a policy in place of a list, in the order of the file."""

    def __init__(self, config: Config, inspected: Inspected | None) -> None:
        """Raises ValueError when the configuration has policies that nobody looked at."""
        self.policies: list[dict[str, Any]] = []    # for the host
        self.places: list[str] = []     # of each in the file
        self.records: list[wire.DiscoveryRecord] = []
        self._files: dict[str, str] = {}
        self._secrets: list[tuple[int, frozenset[str]]] = []
        for i, cluster in enumerate(config.clusters):
            use = cluster.discovery
            if use is None:
                continue
            if inspected is None:
                raise ValueError("the configuration has discovery policies, and their classes were not looked at")
            found: PolicyFound = inspected.discoveries[("clusters", i, "endpoints")]
            loaded = found.loaded
            if loaded.kind == "file":
                self._files[loaded.fingerprint] = loaded.source
            if found.secrets:
                self._secrets.append((i, found.secrets))
            policy = {
                "name": cluster.name, "kind": loaded.kind, "module": loaded.module, "qualname": loaded.qualname,
                "file": loaded.file, "fingerprint": loaded.fingerprint, "settings": found.settings}
            self.places.append(found.place)
            self.policies.append({**policy, "max_silence": use.max_silence / _SECOND, "allow_empty": use.allow_empty})
            self.records.append({
                "cluster": cluster.name, "use": use.use, "key": _key(policy), "first_wait": use.first_wait / _SECOND,
                "debounce": use.debounce / _SECOND, "allow_empty": use.allow_empty})

    def blob(self) -> bytes:
        """For the host; empty when there is no policy."""
        if not self.policies:
            return b""
        from fastmesh.filters.blob import pack

        return pack({"policies": self.policies, "places": self.places, "files": self._files, "paths": import_paths()})

    def hide_secrets(self, written: dict[str, Any]) -> None:
        """Takes out of a configuration as it is shown what nobody is shown."""
        for i, names in self._secrets:
            endpoints = written["clusters"][i]["endpoints"]
            for name in names & endpoints.keys():
                endpoints[name] = HIDDEN


def _key(policy: dict[str, Any]) -> str:
    """Alike as long as the class and its settings are: what such a policy has found is still to be believed."""
    import hashlib  # brings OpenSSL along, and most configurations have no policy

    from fastmesh.filters.blob import pack

    return hashlib.sha256(pack([policy, import_paths()])).hexdigest()[:32]
