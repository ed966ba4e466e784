"""Sets of peers: `10.0.0.0/8`, `::1`, or `unix` for everyone on a Unix-domain socket."""

import ipaddress
from typing import NamedTuple

from fastmesh.errors import WrongValue

ALLOWED = "an IP address, a network as 10.0.0.0/8, or unix"
PATTERN = r"^(unix|[0-9.]+(/[0-9]{1,2})?|[0-9A-Fa-f:.]+(/[0-9]{1,3})?)$"


class Network(NamedTuple):
    """The first `bits` bits of an address."""

    family: int     # 4, 6, or 1: peers on Unix-domain sockets
    bits: int
    packed: bytes   # 4 or 16 bytes in network order; empty for family 1
    text: str

    def __str__(self) -> str:
        return self.text


def parse_network(text: str) -> Network:
    """The peers that `text` names. Raises WrongValue."""
    if text == "unix":
        return Network(1, 0, b"", text)
    try:
        found = ipaddress.ip_network(text)
    except ValueError:
        try:
            meant = ipaddress.ip_network(text, strict=False)
        except ValueError:
            raise WrongValue(repr(text[:80]), ALLOWED) from None
        # 10.0.0.1/8 may mean one machine or the whole network: far too different to guess.
        raise WrongValue(repr(text), "a network whose address has no bits beyond its length",
                         f"write {meant} for the network, or {text.partition('/')[0]} for the one address") from None
    return Network(found.version, found.prefixlen, found.network_address.packed, str(found))
