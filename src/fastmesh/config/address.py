"""Socket addresses: `127.0.0.1:8080`, `[::1]:80`, `unix:/run/app.sock`.

A host name is refused, except `localhost`, which is 127.0.0.1 by definition (RFC 6761) and needs
no resolver. Endpoints behind DNS names are the business of a discovery policy.
"""

import ipaddress
import re
import socket
from typing import Any, NamedTuple

from fastmesh.errors import WrongValue

UNIX_PATH_MAX = 107     # sun_path holds 108 bytes with the terminating NUL

ALLOWED = "IPv4 as 127.0.0.1:8080, IPv6 as [::1]:8080, or unix:/path/to/socket"
PATTERN = (r"^(localhost:[0-9]{1,5}|[0-9]{1,3}(\.[0-9]{1,3}){3}:[0-9]{1,5}"
           r"|\[[0-9A-Fa-f:.]+\]:[0-9]{1,5}|unix:/.{1,106})$")

_HOST_NAME = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]*[A-Za-z0-9_])?\.?")


class Address(NamedTuple):
    """Where to listen or to connect."""

    family: int     # 4, 6, or 1 for a Unix-domain socket, as in the snapshot
    host: str       # the IP address in its shortest form, or the path
    port: int       # 0 for a Unix-domain socket
    packed: bytes   # 4 or 16 bytes in network order, or the path

    def __str__(self) -> str:
        """The one form of this address: endpoints are told apart by it."""
        if self.family == 4:
            return f"{self.host}:{self.port}"
        return f"[{self.host}]:{self.port}" if self.family == 6 else f"unix:{self.host}"

    def to_dict(self) -> dict[str, Any]:
        """For other processes: `{family: inet|inet6|unix, host, port}` or `{family: unix, path}`."""
        if self.family == 1:
            return {"family": 1, "path": self.host, "host": "", "port": 0, "text": str(self)}
        return {"family": self.family, "path": "", "host": self.host, "port": self.port, "text": str(self)}

    @property
    def is_any(self) -> bool:
        """It listens on every address of its family."""
        return self.family != 1 and not any(self.packed)

    @property
    def is_local(self) -> bool:
        """Only this machine can reach it."""
        return self.family == 1 or ipaddress.ip_address(self.packed).is_loopback


def parse_address(text: str) -> Address:
    """The address that `text` names. Raises WrongValue."""
    if text.startswith("unix:"):
        return _unix(text)
    # The common case first, and fast: files with 100,000 endpoints are checked in seconds.
    host, colon, port_text = text.rpartition(":")
    if colon and host and host[0] != "[" and ":" not in host:
        try:
            # inet_pton takes exactly four decimal numbers without leading zeros, as glibc and musl have it.
            packed = socket.inet_pton(socket.AF_INET, "127.0.0.1" if host == "localhost" else host)
        except (OSError, ValueError):
            raise _not_ip(text, host) from None
        return Address(4, "127.0.0.1" if host == "localhost" else host, _port(text, port_text), packed)
    if colon and host.startswith("[") and host.endswith("]"):
        inner = host[1:-1]
        try:
            packed = socket.inet_pton(socket.AF_INET6, inner)
        except (OSError, ValueError):
            hint = "leave out the zone after %" if "%" in inner else ""
            raise WrongValue(repr(text), "an IPv6 address between [ and ]", hint) from None
        return Address(6, socket.inet_ntop(socket.AF_INET6, packed), _port(text, port_text), packed)
    raise _shapeless(text)


def _unix(text: str) -> Address:
    path = text[len("unix:"):]
    packed = path.encode("utf-8", "surrogatepass")
    if path.startswith("@"):
        raise WrongValue(repr(text), "unix: and an absolute path",
                         "abstract sockets have no permissions; give it a path")
    if not path.startswith("/") or path.startswith("//") or len(path) < 2:
        raise WrongValue(repr(text), "unix: and an absolute path, as unix:/run/app.sock",
                         f"write unix:{path[2:]}" if path.startswith("///") else "")
    if any(byte < 32 or byte == 127 for byte in packed):
        raise WrongValue(repr(text), "a path without control characters")
    if len(packed) > UNIX_PATH_MAX:
        raise WrongValue(f"a path of {len(packed)} bytes", f"at most {UNIX_PATH_MAX} bytes",
                         "the kernel holds no longer socket path; move the socket to a shorter one")
    return Address(1, path, 0, packed)


def _port(text: str, port: str) -> int:
    if port.isascii() and port.isdigit() and len(port) <= 5 and 1 <= int(port) <= 65535:
        return int(port)
    raise WrongValue(repr(text), "a port from 1 to 65535")


def _not_ip(text: str, host: str) -> WrongValue:
    if host == "*":
        return WrongValue(repr(text), ALLOWED,
                          f"write 0.0.0.0{text[1:]} for every IPv4 address, [::]{text[1:]} for every IPv6 address")
    if re.fullmatch(r"[0-9.]+", host):
        return WrongValue(repr(text), "an IPv4 address: four numbers from 0 to 255 without leading zeros, and a port")
    if "://" in text:
        return WrongValue(repr(text), ALLOWED, "leave out the scheme")
    if "/" in host or text.startswith("unix"):
        return WrongValue(repr(text), ALLOWED)
    if _HOST_NAME.fullmatch(host):
        return WrongValue(f"the host name {host!r}", f"an IP address: {ALLOWED}",
                          "write the IP address; a cluster finds endpoints by name with "
                          "endpoints: {use: dns, hosts: [...]}")
    return WrongValue(repr(text), ALLOWED)


def _shapeless(text: str) -> WrongValue:
    if "://" in text:
        return WrongValue(repr(text), ALLOWED, "leave out the scheme")
    if text.startswith(":") and text[1:].isdigit():
        return WrongValue(repr(text), ALLOWED,
                          f"write 127.0.0.1{text} for this machine only, 0.0.0.0{text} for every IPv4 address")
    if text.startswith("/"):
        return WrongValue(repr(text), ALLOWED, f"write unix:{text}")
    if text.isascii() and text.isdigit():
        return WrongValue(repr(text), ALLOWED, f"write 127.0.0.1:{text}")
    try:
        ip = ipaddress.ip_address(text.strip("[]"))
    except ValueError:
        if _HOST_NAME.fullmatch(text):
            return WrongValue(repr(text), ALLOWED, "add a port")
        # Taken apart at the last colon it may be IPv6 without its brackets: ::1:8080.
        host, _, port = text.rpartition(":")
        try:
            ipaddress.IPv6Address(host)
        except ValueError:
            return WrongValue(repr(text), ALLOWED)
        return WrongValue(repr(text), ALLOWED, f"write [{host}]:{port}")
    if ip.version == 4:
        return WrongValue(repr(text), ALLOWED, f"add a port, as {ip}:8080")
    if text.startswith("["):
        return WrongValue(repr(text), ALLOWED, f"add a port, as [{ip}]:8080")
    # ::1:8080 may be ::1 with a port, or one address: only the author knows.
    return WrongValue(repr(text), ALLOWED, "put the IP address in brackets, and the port behind them, as [::1]:8080")
