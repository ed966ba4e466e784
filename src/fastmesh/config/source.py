"""The text of a configuration file, and where in it a character stands."""

import errno
import os
import stat
import sys
from bisect import bisect_right

from fastmesh.errors import ConfigError, Problem

MAX_BYTES = 16 << 20
_EXCERPT = 100      # characters of a line that are shown
_BEFORE = 20        # of them before the fault, when the line is longer


class Source:
    """A file's text. Positions are character indexes into `text`; a line is what ends in "\\n"."""

    def __init__(self, name: str, text: str) -> None:
        self.name = name
        self.text = text
        self._starts: list[int] | None = None

    def position(self, index: int) -> tuple[int, int]:
        """Line and column, both from 1, as editors count them."""
        if self._starts is None:
            # Built on the first error only: most files have none.
            starts, at = [0], self.text.find("\n")
            while at >= 0:
                starts.append(at + 1)
                at = self.text.find("\n", at + 1)
            self._starts = starts
        line = bisect_right(self._starts, index)
        return line, index - self._starts[line - 1] + 1

    def excerpt(self, index: int) -> tuple[str, int]:
        """The line that holds a position, or a window of a long one, and the position in it, from 0."""
        start = self.text.rfind("\n", 0, index) + 1
        end = self.text.find("\n", index, index + _EXCERPT)
        if end < 0:
            end = min(len(self.text), index + _EXCERPT)
        begin = start if end - start <= _EXCERPT else max(start, index - _BEFORE)
        return self.text[begin:min(end, begin + _EXCERPT)].rstrip("\r"), index - begin

    def problem(self, reason: str, start: int, end: int = 0, **more: str) -> Problem:
        """A problem with the characters from `start` to `end`."""
        line, column = self.position(start)
        excerpt, caret = self.excerpt(start)
        width = max(1, min(end - start, len(excerpt) - caret))
        return Problem(reason, file=self.name, line=line, column=column, width=width, excerpt=excerpt,
                       caret=caret + 1, **more)


def read_source(path: str, limit: int = MAX_BYTES) -> Source:
    """Reads a file, `-` for standard input. Raises ConfigError when it is not the text of a configuration."""
    # A name is any bytes; shown, it is text.
    name = "<stdin>" if path == "-" else path.encode("utf-8", "backslashreplace").decode()
    try:
        raw = sys.stdin.buffer.read(limit + 1) if path == "-" else _read(path, limit)
    except (OSError, ValueError) as error:
        raise ConfigError([_unreadable(name, error)]) from None
    return Source(name, _decode(name, raw, limit))


def _read(path: str, limit: int) -> bytes:
    # O_NONBLOCK: opening a FIFO that nobody writes to must not hang; for a regular file it means nothing.
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    with os.fdopen(fd, "rb", buffering=0) as file:
        before = os.fstat(fd)
        if stat.S_ISDIR(before.st_mode):
            raise IsADirectoryError(errno.EISDIR, "is a directory")
        if not stat.S_ISREG(before.st_mode):
            raise OSError(errno.EINVAL, "is not a regular file")
        pieces, left = [], limit + 1
        while left and (piece := file.read(min(left, 1 << 20))):
            pieces.append(piece)
            left -= len(piece)
        after = os.fstat(fd)
        if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
            raise OSError(errno.EAGAIN, "changed while it was read")
    return b"".join(pieces)


def _unreadable(name: str, error: Exception) -> Problem:
    """Says why in words, for errno's own are for programmers."""
    number = getattr(error, "errno", None)
    reasons = {
        errno.ENOENT: ("the file does not exist", "check the path; a relative one begins at the working directory"),
        errno.EACCES: ("the file cannot be read: permission denied", "let the user that runs fastmesh read it"),
        errno.EISDIR: ("this is a directory", "name a YAML file"),
        errno.ENOTDIR: ("a part of the path is not a directory", "check the path"),
        errno.EINVAL: ("this is not a regular file", "name a YAML file, or - for standard input"),
        errno.EAGAIN: ("the file changed while it was read",
                       "write a new file beside it and rename it over the old one: that is atomic"),
        errno.ENXIO: ("this is not a regular file", "name a YAML file, or - for standard input"),
        errno.ELOOP: ("the path has too many symbolic links", "check the path"),
        errno.ENAMETOOLONG: ("the path is too long", "check the path"),
    }
    if isinstance(error, ValueError):
        return Problem("the path holds a NUL character", file=name.replace("\0", "\\0"), hint="check the path")
    reason, hint = reasons.get(number or 0, (f"the file cannot be read: {error}", ""))
    return Problem(reason, file=name, hint=hint)


def _decode(name: str, raw: bytes, limit: int) -> str:
    if len(raw) > limit:
        raise ConfigError([Problem(f"the file is larger than {limit >> 20} MiB", file=name,
                                   allowed=f"at most {limit >> 20} MiB of YAML")])
    if raw.startswith(b"\xef\xbb\xbf"):
        raw = raw[3:]
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise ConfigError([Problem("the file is in UTF-16", file=name, line=1, column=1, allowed="UTF-8 text",
                                   hint="save it as UTF-8")])
    # NUL first: binary files are best called binary, whatever else is wrong with their bytes.
    nul = raw.find(b"\0")
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        at, what = error.start, f"the byte 0x{raw[error.start]:02x}, which is not UTF-8"
    else:
        at, what = -1, ""
    if nul >= 0 and (at < 0 or nul < at):
        at, what = nul, "a NUL byte"
    if at >= 0:
        line = raw.count(b"\n", 0, at) + 1
        column = len(raw[raw.rfind(b"\n", 0, at) + 1:at].decode("utf-8", "replace")) + 1
        raise ConfigError([Problem(f"found {what}", file=name, line=line, column=column, allowed="UTF-8 text",
                                   hint="the file looks binary or damaged; save it as UTF-8 text")])
    if not text.strip():
        raise ConfigError([Problem("the file is empty", file=name, allowed="a configuration with at least a listener",
                                   hint="begin with the example that fastmesh --help shows")])
    return text
