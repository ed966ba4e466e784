"""Endpoints from a file, which is read again when it has changed."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from time import time
from typing import Any, Literal

import yaml  # type: ignore[import-untyped]

from fastmesh import Discovery, Duration, Endpoints

LARGEST = 16 << 20          # bytes
QUIET_SECONDS = 0.1         # since it was written to, of a file that is new in its place
Seen = tuple[int, ...]      # what the file system says of a file; () when there is none


class File(Discovery):
    """Reads a list of endpoints: YAML or JSON, as `endpoints` of a cluster is written, or a line for each.

    A file that takes another's place (rename) is read as soon as it is seen. One that is written in place is read when
    it has not changed between two looks, so that half of it is not taken for all.
    """

    path: str                           # absolute
    interval: Duration = 1.0            # between two looks
    format: Literal["auto", "yaml", "lines"] = "auto"   # auto: yaml for .yaml, .yml and .json, else lines

    def start(self) -> None:
        if not os.path.isabs(self.path):
            raise ValueError(f"path: found {self.path!r}; write an absolute path")
        if self.interval < 0.01:
            raise ValueError("interval is 10ms or more")
        is_yaml = self.path.endswith((".yaml", ".yml", ".json"))
        self.parse = _lines if self.format == "lines" or (self.format == "auto" and not is_yaml) else _listed

    async def endpoints(self) -> AsyncIterator[Endpoints]:
        taken: Seen | None = None       # of what was yielded, or found to be wrong
        before: Seen | None = None      # of the look before
        said = ""
        while True:
            now = _look(self.path)
            is_new = before is None or now[:1] != before[:1]
            if is_new and now and 0 <= time() - now[1] / 1e9 < QUIET_SECONDS:
                await asyncio.sleep(QUIET_SECONDS)
                continue
            if now != taken and (is_new or now == before):
                try:
                    found = await asyncio.to_thread(self.read, now)
                    taken, said = now, ""
                    yield found
                except Changed:
                    now = ()            # while it was read: it is looked at as a new one
                except (OSError, ValueError, yaml.YAMLError) as error:
                    taken = now
                    if str(error) != said:
                        said = str(error)
                        self.log.error("%s cannot be used: %s", self.path, said)
            before = now
            await asyncio.sleep(self.interval)

    def read(self, seen: Seen) -> list[Any]:
        with open(self.path, "rb") as file:     # noqa: PTH123
            content = file.read(LARGEST + 1)
        if len(content) > LARGEST:
            raise ValueError(f"it has more than {LARGEST >> 20} MiB")
        if _look(self.path) != seen:
            raise Changed
        return self.parse(content)


class Changed(Exception):
    """The file is being written."""


def _look(path: str) -> Seen:
    try:
        status = os.stat(path)
    except OSError:
        return ()       # perhaps about to be put in its place; opening it says what is wrong
    return status.st_ino, status.st_mtime_ns, status.st_size


def _listed(content: bytes) -> list[Any]:
    found = yaml.load(content, getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    if isinstance(found, dict) and list(found) == ["endpoints"]:
        found = found["endpoints"]
    if not isinstance(found, list):
        raise ValueError("it holds no list of endpoints")
    return found


def _lines(content: bytes) -> list[Any]:
    """`ADDRESS [WEIGHT]`, and what follows a # is for people."""
    found: list[Any] = []
    for number, line in enumerate(content.decode().splitlines(), 1):
        address, *more = line.partition("#")[0].split() or [""]
        if not address:
            continue
        if len(more) > 1 or any(not word.isascii() or not word.isdigit() for word in more):
            raise ValueError(f"line {number}: found {line[:100]!r}; write an address, and perhaps a weight behind it")
        found.append((address, int(more[0][:12])) if more else address)
    return found
