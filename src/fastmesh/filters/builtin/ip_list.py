"""Who may come, by address."""

from _socket import AF_INET, AF_INET6, inet_pton

from fastmesh import Authorizer, Connection, Filter, Request

IPV4 = 1 << 128             # stands before the 32 bits of an IPv4 address: no network of IPv6 holds it
MAPPED = 0xFFFF             # before those of one that is written as IPv6


class Networks:
    """Networks as integers: asking costs as many look-ups as there are lengths of prefix."""

    def __init__(self, texts: tuple[str, ...], field: str) -> None:
        from ipaddress import IPv4Network, ip_network

        self.unix = "unix" in texts
        self.shifts: dict[int, set[int]] = {}           # bits that do not count: the others
        for text in texts:
            if text == "unix":
                continue
            try:
                network = ip_network(text)
            except ValueError as error:
                raise ValueError(f"{field}: {error}; write an address, a network such as 10.0.0.0/8, or unix") from None
            first = int(network.network_address)
            shift = network.max_prefixlen - network.prefixlen
            if isinstance(network, IPv4Network) or (shift <= 32 and first >> 32 == MAPPED):
                first = IPV4 | first & 0xFFFFFFFF
            self.shifts.setdefault(shift, set()).add(first >> shift)

    def has(self, number: int) -> bool:
        return any(number >> shift in firsts for shift, firsts in self.shifts.items())


def number_of(text: str) -> int | None:
    """An address as a number; None for what is no address."""
    try:
        if ":" not in text:
            return IPV4 | int.from_bytes(inet_pton(AF_INET, text), "big")
        number = int.from_bytes(inet_pton(AF_INET6, text.partition("%")[0]), "big")
    except OSError:
        return None
    return IPV4 | number & 0xFFFFFFFF if number >> 32 == MAPPED else number


class Lists:
    """Denied before allowed; where nothing is said to be allowed, all is. What is no address is refused."""

    def __init__(self, allow: tuple[str, ...], deny: tuple[str, ...]) -> None:
        if not allow and not deny:
            raise ValueError("neither allow_from nor deny_from is given: every address would pass")
        self.allow, self.deny, self.allows_all = Networks(allow, "allow_from"), Networks(deny, "deny_from"), not allow

    def passes(self, address: str) -> bool:
        if address == "unix":
            return not self.deny.unix and (self.allows_all or self.allow.unix)
        number = number_of(address)
        return (number is not None and not self.deny.has(number)
                and (self.allows_all or self.allow.has(number)))


class IpList(Authorizer):
    """Refuses requests by the client's address with 403.

    Behind other proxies, `trusted_hops` says how many of them add to X-Forwarded-For: the address that counts is that
    many from its end. A header that is shorter was not written by them, and the connection's own address counts.
    """

    allow_from: tuple[str, ...] = ()
    deny_from: tuple[str, ...] = ()
    trusted_hops: int = 0

    def start(self) -> None:
        self.lists = Lists(self.allow_from, self.deny_from)
        if not 0 <= self.trusted_hops <= 32:
            raise ValueError("trusted_hops is a number from 0 to 32")

    def allow(self, request: Request) -> bool:
        return self.lists.passes(client_of(request, self.trusted_hops))


def client_of(request: Request, trusted_hops: int) -> str:
    """The client's address, as far as those in between are believed."""
    if trusted_hops:
        passed = [word for field in request.headers.get_all("x-forwarded-for") for word in field.split(",")]
        if len(passed) >= trusted_hops:
            return passed[-trusted_hops].strip().strip("[]")
    return request.peer


class ConnectionIpList(Filter):
    """The same for connections of a listener, TCP ones too, before a byte is read: they are closed."""

    security = True

    allow_from: tuple[str, ...] = ()
    deny_from: tuple[str, ...] = ()

    def start(self) -> None:
        self.lists = Lists(self.allow_from, self.deny_from)

    def on_connection(self, connection: Connection) -> bool:
        return self.lists.passes(connection.peer)
