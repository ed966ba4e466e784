"""Endpoints by name: what the machine's resolver says of some hosts."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from typing import Literal

from fastmesh import Discovery, Duration, Endpoints

FAMILIES = {"any": socket.AF_UNSPEC, "4": socket.AF_INET, "6": socket.AF_INET6}


class Dns(Discovery):
    """Asks for the addresses of each host, IPv4 and IPv6, once in `interval`.

    A host that cannot be resolved keeps the addresses that it had. The resolver is the machine's own: the hosts file
    and search domains count, and it does not tell how long an answer holds.
    """

    hosts: tuple[str, ...]              # "app.internal:8080"
    interval: Duration = 5.0
    timeout: Duration = 10.0
    family: Literal["any", "4", "6"] = "any"

    def start(self) -> None:
        if not self.hosts:
            raise ValueError("hosts is empty: write hosts: [app.internal:8080]")
        if self.interval < 0.1 or self.timeout < 0.1:
            raise ValueError("interval and timeout are 100ms or more")
        self.asked = [(text, *_parted(text)) for text in self.hosts]
        self.known: dict[str, list[str]] = {}       # host as written → addresses
        self.failing: dict[str, str] = {}           # and why

    async def endpoints(self) -> AsyncIterator[Endpoints]:
        while True:
            await asyncio.gather(*(self.ask(text, host, port) for text, host, port in self.asked))
            if self.known:
                yield sorted({address for found in self.known.values() for address in found})
            await asyncio.sleep(self.interval)

    async def ask(self, text: str, host: str, port: int) -> None:
        loop = asyncio.get_running_loop()
        try:
            found = await asyncio.wait_for(
                loop.getaddrinfo(host, port, family=FAMILIES[self.family], type=socket.SOCK_STREAM), self.timeout)
            self.known[text] = [_written(address[0], port) for *_, address in found if "%" not in str(address[0])]
            if self.failing.pop(text, None) is not None:
                self.log.info("%s is resolved again: %s", host, ", ".join(self.known[text]))
        except (OSError, TimeoutError, UnicodeError) as error:
            why = "no answer" if isinstance(error, TimeoutError) else str(error)
            if self.failing.get(text) != why:
                self.failing[text] = why
                stays = "its addresses stay" if text in self.known else "it has none yet"
                self.log.error("%s cannot be resolved: %s; %s", host, why, stays)


def _parted(text: str) -> tuple[str, int]:
    """Host and port. Raises ValueError."""
    host, _, port = text.rpartition(":")
    if not host or not port.isascii() or not port.isdigit() or not 1 <= int(port[:6]) <= 65535:
        raise ValueError(f"hosts: found {text!r}; write a host and a port, as app.internal:8080")
    return host.strip("[]"), int(port)


def _written(ip: object, port: int) -> str:
    return f"[{ip}]:{port}" if ":" in str(ip) else f"{ip}:{port}"
