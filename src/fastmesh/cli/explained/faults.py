"""The faults that fall on a request, and who gets copies of it."""

from collections.abc import Iterator

from fastmesh.cli.explained.file import File
from fastmesh.cli.explained.match import Verdicts, whose
from fastmesh.cli.explained.subset import in_brackets
from fastmesh.config.fault import Fault, grpc_name
from fastmesh.config.filter import FilterMatch
from fastmesh.config.mirror import Mirror
from fastmesh.config.report import Path
from fastmesh.units import format_duration, format_size


def fault_lines(file: File, path: Path, faults: list[Fault], verdicts: Verdicts) -> Iterator[str]:
    """Those of a route, which stands at `path`."""
    for i, fault in enumerate(faults):
        what = [f"wait {format_duration(fault.delay)}"] if fault.delay else []
        what += [f"get {fault.abort}"] if fault.abort else []
        what += [f"get the gRPC status {grpc_name(fault.grpc_status)}"] if fault.grpc_status else []
        what += ["get what x-envoy-fault-* of a trusted client asks for"] if fault.from_headers else []
        what += [f"get the body at {format_size(fault.bandwidth)}/s"] if fault.bandwidth else []
        what += [f"send the body at {format_size(fault.request_bandwidth)}/s"] if fault.request_bandwidth else []
        most = f", {fault.max_active:,} at a time" if fault.max_active else ""
        yield (f"fault ({file.place((*path, 'faults', i))}): {whose(fault.match)} {' and '.join(what)}{most}"
               f"{_this(fault.match, verdicts)}")


def mirror_lines(file: File, path: Path, mirrors: list[Mirror], verdicts: Verdicts) -> Iterator[str]:
    """Those of a route, which stands at `path`."""
    for i, mirror in enumerate(mirrors):
        yield (f"mirror ({file.place((*path, 'mirrors', i))}): {whose(mirror.match)} are copied to {mirror.cluster}"
               f"{in_brackets(mirror.subset)}{_this(mirror.match, verdicts)}")


def _this(match: FilterMatch | None, verdicts: Verdicts) -> str:
    """Whether its match takes this one; nothing where that is plain, or not known."""
    if not verdicts.may_tell(match):
        return ""
    takes, why = verdicts.of_any_share(match)
    return f"; it takes this one{f', {why}' if why else ''}" if takes else f"; not this one: {why}"
