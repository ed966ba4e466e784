"""fastmesh, one worker process, with either engine."""

import re
from collections.abc import Sequence
from pathlib import Path

from bench.peers.peer import Peer, Protocol, Service, ask_version
from bench.running import ROOT, free_port

BINARY = ROOT / ".venv" / "bin" / "fastmesh"

CONFIG = """
admin: {{address: 127.0.0.1:{admin_port}}}
workers: {workers}                  # one worker, one core
reactor: {engine}
drain_timeout: 1s
max_connections: {clients}
# No access_log: off, as with the others.
listeners:
  - name: web
    address: 127.0.0.1:{port}
    protocol: {protocol}
    {target}
    backlog: 4096
clusters:
  - name: origin
    endpoints: [127.0.0.1:{origin_port}]
    idle_timeout: 1h                # upstream connections are kept and reused by default; the others keep them as long
"""
TARGET = {"http": "routes: [{match: {prefix: /}, cluster: origin}]", "tcp": "cluster: origin"}


class Fastmesh(Peer):
    def __init__(self, engine: str) -> None:
        self.engine = engine
        self.name = f"fastmesh-{engine.replace('io_', '')}"
        self.title = f"fastmesh ({engine})"

    def missing(self, protocol: Protocol) -> str | None:
        return None if BINARY.exists() else "not built: run `make build`"

    def version(self) -> str:
        return ask_version([str(BINARY), "version"], r"(\d+\.\d+\.\d+\S*)")

    def command(self, service: Service, port: int, folder: Path) -> Sequence[str]:
        path = self.config_path(folder)
        path.write_text(
            CONFIG.format(
                admin_port=free_port(),
                workers=service.workers,
                engine=self.engine,
                clients=service.clients,
                port=port,
                protocol=service.protocol,
                target=TARGET[service.protocol],
                origin_port=service.origin_port,
            )
        )
        return [str(BINARY), "run", "-c", str(path)]

    def config_path(self, folder: Path) -> Path:
        return folder / "fastmesh.yaml"

    def admin_port(self, folder: Path) -> int:
        """As the configuration in the folder has it."""
        found = re.search(r"admin\W+address\W+127\.0\.0\.1:(\d+)", self.config_path(folder).read_text())
        assert found
        return int(found[1])
