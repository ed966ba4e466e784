"""What must hold within a cluster's health check, and between it and what stands around it.

As the other checks, it works on what the file says, so that it finds everything in one go.
"""

from fastmesh.config.address import parse_address
from fastmesh.config.checks import Finder, map_of, maps_of, measure_of, text_of
from fastmesh.config.report import Path
from fastmesh.config.yaml_tree import Tree, Value
from fastmesh.errors import Problem, WrongValue
from fastmesh.units import format_duration, parse_duration

_KINDS = ("http", "tcp", "grpc")
_FRAMING = ("host", "content-length", "transfer-encoding", "connection", "upgrade", "expect")


def check_health_checks(tree: Tree) -> list[Problem]:
    """Every contradiction in the checks of the file."""
    find = Finder(tree)
    for i, cluster in maps_of(map_of(tree.value), "clusters"):
        path: Path = ("clusters", i)
        check = cluster.get("health_check")
        if isinstance(check, dict):
            _check(find, (*path, "health_check"), check)
            _ports(find, path, cluster, check)
        elif check is None and not find.is_broken((*path, "health_check")):
            for k, endpoint in maps_of(cluster, "endpoints"):
                if endpoint.get("check_address") is not None:
                    find.add((*path, "endpoints", k, "check_address"), "the cluster has no health_check", key=True,
                             hint="remove check_address, or add health_check: {http: {path: /healthz}} to the cluster")
    return find.problems


def _check(find: Finder, path: Path, check: dict[str, Value]) -> None:
    kinds = [kind for kind in _KINDS if kind in check]
    if not kinds and not any(find.is_broken((*path, kind)) for kind in _KINDS):
        find.add(path, "it does not say what is asked", allowed="http or tcp",
                 hint="write http: {path: /healthz}, or tcp: {} for a connection alone")
    for kind in kinds[1:]:
        find.add((*path, kind), f"there is {kinds[0]} already", allowed="one of http and tcp", key=True,
                 hint=f"remove one of {kinds[0]} and {kind}")
    timeout = measure_of(check, "timeout", parse_duration, "1s")
    interval = measure_of(check, "interval", parse_duration, "5s")
    if timeout is not None and interval and timeout > interval:
        at = (*path, "timeout" if "timeout" in check else "interval")
        find.add(at, f"a check may take {format_duration(timeout)}, and the next is due after "
                 f"{format_duration(interval)}", hint="make timeout at most as long as interval")
    if check.get("keep_alive") in ("true", "True", "TRUE") and isinstance(check.get("tcp"), dict) and (
            map_of(check.get("tcp")).get("expect") is None):
        find.add((*path, "keep_alive"), "a check by tcp that expects no bytes is a new connection each time", key=True,
                 hint="remove keep_alive, or add tcp.send and tcp.expect")
    http = map_of(check.get("http"))
    for name in map_of(http.get("headers")):
        if name.lower() in _FRAMING:
            hint = "write http.host" if name.lower() == "host" else "remove it"
            find.add((*path, "http", "headers", name), f"the field {name.lower()} is written by fastmesh itself",
                     key=True, hint=hint)
    if http.get("body") is not None and text_of(http, "method") == "HEAD":
        find.add((*path, "http", "body"), "an answer to HEAD has no body", key=True, hint="write method: GET")


def _ports(find: Finder, path: Path, cluster: dict[str, Value], check: dict[str, Value]) -> None:
    if check.get("port") is None:
        return
    endpoints = cluster.get("endpoints")
    for k, endpoint in enumerate(endpoints if isinstance(endpoints, list) else []):
        said = endpoint.get("address") if isinstance(endpoint, dict) else endpoint
        if isinstance(endpoint, dict) and endpoint.get("check_address") is not None:
            continue
        try:
            is_path = isinstance(said, str) and parse_address(said).family == 1
        except WrongValue:
            continue
        if is_path:
            find.add((*path, "health_check", "port"), f"the endpoint {said} on line "
                     f"{find.line((*path, 'endpoints', k))} is a path and has no port", key=True,
                     hint="give that endpoint a check_address, or remove port")
            return
