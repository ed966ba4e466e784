"""A connection to a TCP listener."""

from collections.abc import Iterator

from fastmesh.cli.explained.cluster import cluster_lines
from fastmesh.cli.explained.file import File
from fastmesh.cli.explained.filters import filter_lines
from fastmesh.units import format_duration


def connection_lines(file: File, at: int) -> Iterator[str]:
    """What holds for whoever connects to a listener."""
    listener = file.config.listeners[at]
    path = ("listeners", at)
    yield f"listener {listener.name} ({file.place(path)}), {listener.address}: TCP connections"
    yield from file.policies(listener.policies)
    if listener.filters:
        yield "filters of the listener:"
        yield from filter_lines(file, (*path, "filters"), listener.filters, None)
    idle = listener.timeouts.tcp_idle
    yield f"closed when nothing moves: {f'after {format_duration(idle)}' if idle else 'never'}"
    if listener.limits.connections:
        yield f"connections: at most {listener.limits.connections:,} in each worker"
    for i, cluster in enumerate(file.config.clusters):
        if cluster.name == listener.cluster:
            yield from cluster_lines(file, i, cluster)
