"""fastmesh, one worker process, with either engine."""

import os
import re
import signal
from collections.abc import Sequence
from pathlib import Path

from bench.peers.peer import PATIENCE_MS, Peer, Protocol, Service, Work, ask_version
from bench.running import ROOT, Running, free_port

BINARY = ROOT / ".venv" / "bin" / "fastmesh"
FILTERS = ROOT / "bench" / "filters" / "fastmesh.py"
CLASSES: dict[Work, str] = {
    "mark": "Mark, header: {header}",
    "async": "MarkAsync, header: {header}",
    "isolated": "Mark, isolated: true, header: {header}",
    "isolated-async": "MarkAsync, isolated: true, header: {header}",
    "answer": "Answer",
    "look": "Look",
    # Never left alone, however late the machine makes it: it shall take its time from the others.
    "compute": "Compute, quarantine: {{failures: 0}}",
    "compute-isolated": "Compute, isolated: true, quarantine: {{failures: 0}}",
}

CONFIG = """
admin: {{address: 127.0.0.1:{admin_port}}}
workers: {workers}                  # one worker, one core
reactor: {engine}
drain_timeout: 1s
max_connections: {clients}
{access_log}
listeners:
  - name: web
    address: 127.0.0.1:{port}
    protocol: {protocol}
    backlog: 4096
    {target}
clusters:
{clusters}
"""
CLUSTER = """
  - name: app-{number}
    load_balancer: round_robin      # as with the others
    endpoints: [{endpoints}]
    idle_timeout: 1h                # upstream connections are kept and reused by default; the others keep them as long
"""
# With its own default line, which is Envoy's.
LOG = "access_log: {{path: {folder}/access.log, format: text}}"
# Two further attempts at other endpoints, as the others have them, and as they have no budget for these, one that is
# no bound.
RETRIES = "{{on: [connect-failure, reset, 503], attempts: 3, per_try_timeout: {patience_ms}ms}}"
NO_BUDGET = "    retry_budget: {share: 100%, per_second: 100000}\n"


def _filters(service: Service) -> list[str]:
    return [
        f"{{use: {FILTERS}:{CLASSES[work].format(header=header)}}}"
        for work, header in zip(service.filters, service.marks(), strict=True)
    ]


def _is_aside(service: Service) -> bool:
    """The filters stand at a route of their own."""
    return any(work.startswith("compute") for work in service.filters)


def _routes(service: Service) -> str:
    lines = []
    if _is_aside(service):
        lines.append(f"{{match: {{prefix: /slow/}}, cluster: app-0, filters: [{', '.join(_filters(service))}]}}")
    if service.generation:
        lines.append(f"{{match: {{path: /generation-{service.generation}}}, response: {{status: 204}}}}")
    lines += [f"{{match: {{prefix: /kind-{k}/}}, cluster: app-0}}" for k in range(service.routes - 1)]
    lines += [
        f"{{match: {{prefix: /, hosts: [service-{k}.test]}}, cluster: app-{k}}}" for k in range(1, service.clusters)
    ]
    retry = f", retry: {RETRIES.format(patience_ms=PATIENCE_MS)}" if service.failing else ""
    lines.append(f"{{match: {{prefix: /}}, cluster: app-0{retry}}}")
    filters = [] if _is_aside(service) else _filters(service)
    above = f"filters: [{', '.join(filters)}]\n    " if filters else ""
    return f"{above}routes:" + "".join(f"\n      - {line}" for line in lines)


class Fastmesh(Peer):
    reloads = True
    works = frozenset[Work](CLASSES)

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
        endpoints = ", ".join(f"127.0.0.1:{origin}" for origin in service.origins)
        text = CONFIG.format(
            admin_port=self.admin_port(folder) if path.exists() else free_port(),
            workers=service.workers,
            engine=self.engine,
            clients=service.clients,
            access_log=LOG.format(folder=folder) if service.access_log else "# No access_log: off, as with the others.",
            port=port,
            protocol=service.protocol,
            target=_routes(service) if service.protocol == "http" else "cluster: app-0",
            clusters="".join(
                CLUSTER.format(number=k, endpoints=endpoints) + (NO_BUDGET if service.failing else "")
                for k in range(service.clusters)
            ),
        )
        fresh = path.with_suffix(".new")
        fresh.write_text(text)
        fresh.replace(path)
        return [str(BINARY), "run", "-c", str(path)]

    def reload(self, service: Service, running: Running) -> None:
        self.command(service, running.port, running.folder)
        os.kill(running.pid, signal.SIGHUP)

    def config_path(self, folder: Path) -> Path:
        return folder / "fastmesh.yaml"

    def admin_port(self, folder: Path) -> int:
        """As the configuration in the folder has it."""
        found = re.search(r"admin\W+address\W+127\.0\.0\.1:(\d+)", self.config_path(folder).read_text())
        assert found
        return int(found[1])
