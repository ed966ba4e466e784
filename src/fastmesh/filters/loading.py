"""From what `use` says to a class: by import path, by file, by the name of one that is installed or built in.

For the compile process and the command line. Nothing that a module does while it is imported may end them: what it
raises, and a call of sys.exit, becomes a sentence; what it prints is caught.
"""

import contextlib
import difflib
import hashlib
import importlib
import importlib.util
import io
import itertools
import os
import stat
import sys
import traceback
from collections.abc import Iterable, Iterator
from types import ModuleType, TracebackType
from typing import Any, NamedTuple

import fastmesh
from fastmesh.errors import OutOfTime
from fastmesh.filters.balancer import LoadBalancer
from fastmesh.filters.discovery import Discovery
from fastmesh.filters.fallback import Fallback
from fastmesh.filters.filter import Filter
from fastmesh.filters.healer import Healer

MAX_FILE = 1 << 20
_MAX_PACKAGE = 64 << 20     # bytes of a package that are looked at to tell its versions apart
_MAX_PRINTED = 4096
_MAX_WATCHED = 1_000        # files of a package


class Kind(NamedTuple):
    """What is loaded: a subclass of `base`, known by a name where packages say so, or where it is built in."""

    base: type
    noun: str
    group: str              # of entry points
    built_in: str           # the module that has those that come with fastmesh
    names: str = "NAMES"    # under which name


FILTER = Kind(Filter, "filter", "fastmesh.filters", "fastmesh.filters.builtin")
LOAD_BALANCER = Kind(
    LoadBalancer, "load balancer", "fastmesh.load_balancers", "fastmesh.filters.builtin", "LOAD_BALANCERS")
FALLBACK = Kind(Fallback, "fallback policy", "fastmesh.fallbacks", "fastmesh.filters.builtin", "FALLBACKS")
HEALER = Kind(Healer, "healing policy", "fastmesh.healers", "fastmesh.healers")
DISCOVERY = Kind(Discovery, "discovery policy", "fastmesh.discovery", "fastmesh.discovery")


class CannotLoad(Exception):
    """No class can be had. What is wrong, what is allowed, what to do."""

    def __init__(self, reason: str, allowed: str = "", hint: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.allowed = allowed
        self.hint = hint


class Loaded(NamedTuple):
    """A class, and how a worker finds the very same."""

    cls: type[Any]
    kind: str               # "module" or "file"
    module: str             # its name; of a file, made of the fingerprint
    qualname: str
    file: str               # absolute; "" of a module without one
    fingerprint: str
    source: str             # of a file, its text
    printed: str            # what it wrote while it was imported


class Loader:
    """Loads each module once."""

    def __init__(self, base: str) -> None:
        """`base`: the directory that relative files begin at."""
        self.base = os.path.abspath(base)
        self._modules: dict[str, tuple[ModuleType, str] | CannotLoad] = {}
        self._fingerprints: dict[str, str] = {}
        self.files: list[str] = []      # that were looked for, whether or not they are there
        # What was installed since this process looked around is found.
        importlib.invalidate_caches()

    def load(self, use: str, kind: Kind = FILTER) -> Loaded:
        """Raises CannotLoad."""
        place, colon, qualname = use.rpartition(":")
        if not colon:
            place, qualname = use, ""
        if place.endswith(".py") or "/" in place:
            return self._load_file(place, qualname, kind)
        if not qualname:
            place, qualname = _installed(use, kind)
        return self._load_module(place, qualname, kind)

    # --- files ---

    def _load_file(self, place: str, qualname: str, kind: Kind) -> Loaded:
        path = os.path.normpath(os.path.join(self.base, place))
        if path not in self.files:
            self.files.append(path)
        source = _read(path, place)
        fingerprint = hashlib.sha256(path.encode("utf-8", "surrogateescape") + b"\0" + source).hexdigest()[:32]
        name = f"fastmesh_file_{fingerprint}"
        module, printed = self._import(name, lambda: _run_file(name, path, source), path)
        return Loaded(_class_of(module, qualname, place, kind), "file", name, qualname, path, fingerprint,
                      source.decode("utf-8", "surrogateescape"), printed)

    # --- modules ---

    def _load_module(self, name: str, qualname: str, kind: Kind) -> Loaded:
        if not all(part.isidentifier() for part in name.split(".")):
            raise CannotLoad(f"found {name!r}, which is no name of a module",
                             f"my_package.module:Class, ./file.py:Class, or the name of an installed {kind.noun}")
        self._note_files(name.partition(".")[0])
        module, printed = self._import(name, lambda: importlib.import_module(name), name)
        cls = _class_of(module, qualname, name, kind)
        return Loaded(cls, "module", name, qualname, getattr(module, "__file__", None) or "",
                      self._fingerprint(name.partition(".")[0]), "", printed)

    def _note_files(self, top: str) -> None:
        """Before it is imported: a package that cannot be is the one that somebody works on."""
        if top == "fastmesh":
            return
        try:
            spec = importlib.util.find_spec(top)
        except (ImportError, ValueError):
            return
        if spec is not None:
            found = itertools.islice(_files_in(spec.submodule_search_locations or (), spec.origin), _MAX_WATCHED)
            self.files += [path for path in found if path not in self.files]

    def _fingerprint(self, top: str) -> str:
        if top not in self._fingerprints:
            self._fingerprints[top] = fastmesh.__version__ if top == "fastmesh" else _fingerprint_of(sys.modules[top])
        return self._fingerprints[top]

    # --- both ---

    def _import(self, name: str, run: Any, own: str) -> tuple[ModuleType, str]:
        """`own`: the file, or the name of the module, that is imported."""
        if name not in self._modules:
            with _caught() as printed:
                try:
                    self._modules[name] = run(), ""
                except KeyboardInterrupt:
                    raise
                except OutOfTime:
                    raise OutOfTime(f", most of it to import {own}") from None
                except BaseException as error:      # also SystemExit, and whatever else a module may raise
                    sys.modules.pop(name, None)
                    self._modules[name] = _cannot_import(error, own)
            found = self._modules[name]
            if isinstance(found, tuple):
                self._modules[name] = found[0], printed.getvalue()
        found = self._modules[name]
        if isinstance(found, CannotLoad):
            raise found
        return found


def _read(path: str, place: str) -> bytes:
    try:
        with open(path, "rb", opener=_open_regular) as file:
            source = file.read(MAX_FILE + 1)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise CannotLoad(f"the file {place} cannot be read: {why}", "",
                         f"check the path, {path}; a relative one begins where the configuration is") from None
    if len(source) > MAX_FILE:
        raise CannotLoad(f"the file {place} is larger than {MAX_FILE >> 20} MiB")
    return source


def _open_regular(path: str, flags: int) -> int:
    # O_NONBLOCK: a FIFO that nobody writes to must not hold anybody up.
    fd = os.open(path, flags | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise ValueError("it is no regular file")
    return fd


def _run_file(name: str, path: str, source: bytes) -> ModuleType:
    module = ModuleType(name)
    module.__file__ = path
    sys.modules[name] = module
    exec(compile(source, path, "exec", dont_inherit=True), module.__dict__)
    return module


def _class_of(module: ModuleType, qualname: str, place: str, kind: Kind) -> type[Any]:
    base = kind.base
    names = [name for name, value in vars(module).items() if isinstance(value, type) and issubclass(value, base)
             and value is not base and value.__module__ == module.__name__]
    some = ", ".join(names[:8])
    if not qualname:
        hint = f"write {place}:{names[0]}" if names else f"define a class that inherits from fastmesh.{base.__name__}"
        raise CannotLoad(f"{place} names no class", f"one of {some}" if names else "", hint)
    found: Any = module
    for part in qualname.split("."):
        found = getattr(found, part, None)
    if found is None:
        close = difflib.get_close_matches(qualname, names, 1, 0.5)
        raise CannotLoad(f"there is no {qualname} in {place}", some, f"write {place}:{close[0]}" if close else "")
    if not isinstance(found, type):
        raise CannotLoad(f"{place}:{qualname} is no class, it is of type {type(found).__name__}", some)
    if not issubclass(found, base) or found is base:
        if issubclass(found, LoadBalancer):
            hint = f"name it at a cluster, as load_balancer: {{use: {place}:{qualname}}}"
        elif issubclass(found, Fallback):
            hint = f"name it in a route's fallback, as fallback: [{{use: {place}:{qualname}}}]"
        elif issubclass(found, Filter):
            hint = f"a filter stands in a list of filters, as filters: [{{use: {place}:{qualname}}}]"
        else:
            hint = f"write class {found.__name__}({base.__name__}), with from fastmesh import {base.__name__}"
        raise CannotLoad(f"{place}:{qualname} does not inherit from fastmesh.{base.__name__}", some, hint)
    return found


def _installed(name: str, kind: Kind) -> tuple[str, str]:
    """Module and class of one that is known by a name."""
    from importlib.metadata import entry_points

    known: dict[str, str] = {}
    if importlib.util.find_spec(kind.built_in) is not None:
        known = dict(getattr(importlib.import_module(kind.built_in), kind.names, {}))
    # A package cannot take the place of one that is built in.
    known = {**{point.name: point.value for point in entry_points(group=kind.group)}, **known}
    if name in known:
        module, _, qualname = known[name].partition(":")
        return module, qualname
    close = difflib.get_close_matches(name, known, 1, 0.6)
    head, dot, tail = name.rpartition(".")
    if close:
        hint = f"write {close[0]}"
    elif dot:
        hint = f"write {head}:{tail}"
    else:
        hint = "install the package that brings it, or write my_package.module:Class or ./file.py:Class"
    raise CannotLoad(f"there is no {kind.noun} {name!r} built in or installed", ", ".join(sorted(known)[:20]), hint)


def _fingerprint_of(top: ModuleType) -> str:
    """Of all code of a top package, or of the one file of a module."""
    digest = hashlib.sha256()
    left = _MAX_PACKAGE
    for path in sorted(_code_files(top)):
        try:
            status = os.stat(path)
            digest.update(f"{path}\0{status.st_size}\0".encode("utf-8", "surrogateescape"))
            if path.endswith(".py") and status.st_size <= left:
                left -= status.st_size
                with open(path, "rb") as file:      # noqa: PTH123
                    digest.update(file.read())
            else:
                digest.update(f"{status.st_mtime_ns}\0".encode())
        except OSError:
            continue        # it went away meanwhile: that is another version
    return digest.hexdigest()[:32]


def _code_files(top: ModuleType) -> Iterator[str]:
    return _files_in(getattr(top, "__path__", ()), getattr(top, "__file__", None))


def _files_in(directories: Iterable[str], file: str | None) -> Iterator[str]:
    """All code of a package, or of a module that is a file."""
    directories = list(directories)
    if not directories and file:
        yield file
    for directory in directories:
        for where, inner, files in os.walk(directory):
            inner[:] = [name for name in inner if name != "__pycache__"]
            yield from (os.path.join(where, name) for name in files if name.endswith((".py", ".so")))


def _cannot_import(error: BaseException, own: str) -> CannotLoad:
    """The sentence for what a module raised, with the last line of its own code that led there."""
    if isinstance(error, SyntaxError) and error.filename:
        place, what = f"{error.filename}:{error.lineno or 0}", f"{type(error).__name__}: {error.msg}"
    else:
        place = _last_line(error.__traceback__, own)
        what = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    hint = ""
    if isinstance(error, SystemExit):
        what, hint = f"it called sys.exit({error.code!r})", "remove the call: a filter does not end its process"
    elif isinstance(error, ModuleNotFoundError) and error.name:
        beside = os.path.join(os.path.dirname(own), *error.name.split(".")) if os.sep in own else ""
        if beside and (os.path.exists(beside + ".py") or os.path.isdir(beside)):
            hint = ("a file stands alone and does not see those beside it: make a package of them, install it, and "
                    "write my_package.module:Class")
        elif error.name == own.partition(".")[0]:
            hint = "install the package where fastmesh is installed, and check the spelling"
            return CannotLoad(f"there is no module {error.name!r}", "", hint)
        else:
            hint = f"install {error.name.partition('.')[0]} where fastmesh is installed"
    return CannotLoad(f"{place or own}: {what}", "", hint)


def _last_line(trace: TracebackType | None, own: str) -> str:
    """`file:line` of the innermost frame that is the module's own, or its package's."""
    found = ""
    top = own.partition(".")[0]
    for frame, line in traceback.walk_tb(trace):
        file = frame.f_code.co_filename
        name = str(frame.f_globals.get("__name__", ""))
        if file == own or (os.sep not in own and name.partition(".")[0] == top):
            found = f"{file}:{line}"
    return found


class _Bounded(io.StringIO):
    """Keeps the first few thousand characters."""

    def write(self, text: str) -> int:
        if self.tell() < _MAX_PRINTED:
            super().write(text[:_MAX_PRINTED])
        return len(text)


@contextlib.contextmanager
def _caught() -> Iterator[io.StringIO]:
    """Whatever is printed within goes to what this gives, and nothing is left behind on the disk."""
    printed = _Bounded()
    writes = sys.dont_write_bytecode
    sys.dont_write_bytecode = True
    try:
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
            yield printed
    finally:
        sys.dont_write_bytecode = writes
