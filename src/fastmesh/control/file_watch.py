"""Whether files have changed since somebody looked."""

import os
from collections.abc import Callable, Iterable

Seen = tuple[int, ...]


class FileWatch:
    """Compares what the file system says of some files with what it said the last time."""

    def __init__(self, files: Callable[[], Iterable[str]]) -> None:
        self._files = files
        self._seen: dict[str, Seen] = {}

    def learn(self) -> None:
        """Look at files that are new here; call it as soon as they have been read."""
        for file in self._files():
            if file not in self._seen:
                self._seen[file] = _look(file)

    def has_changed(self) -> bool:
        """Since the last call. A file that is looked at for the first time has not."""
        now = {file: _look(file) for file in self._files()}
        changed = any(self._seen.get(file, seen) != seen for file, seen in now.items())
        self._seen = now
        return changed


def _look(file: str) -> Seen:
    try:
        status = os.stat(file)
    except OSError:
        return ()       # an editor may be about to put another one in its place
    return status.st_mtime_ns, status.st_size, status.st_ino
