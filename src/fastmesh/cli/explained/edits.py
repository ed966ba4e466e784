"""What becomes of headers on the way there and back."""

from collections.abc import Iterator

from fastmesh.cli.explained.file import File
from fastmesh.config.header_edit import RequestEdit, ResponseEdit
from fastmesh.config.report import Path


def edit_lines(file: File, path: Path, sent: RequestEdit | None, given: ResponseEdit | None) -> Iterator[str]:
    """The edits of a route, which stands at `path`."""
    if sent is not None:
        yield f"request headers ({file.place((*path, 'request_headers'))}): {_edits(sent)}"
    if given is not None:
        yield f"response headers ({file.place((*path, 'response_headers'))}): {_edits(given)}"


def _edits(edit: RequestEdit | ResponseEdit) -> str:
    parts = [f"remove {name}" for name in edit.remove]
    parts += [f"set {name}: {value}" for name, value in edit.set.items()]
    parts += [f"add {name}: {value}" for name, value in edit.add.items()]
    return "; ".join(parts) or "nothing"
