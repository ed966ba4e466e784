"""Listening sockets. Control opens them and keeps them: a worker gets copies, and may die.

A TCP address has one socket per worker slot, in one SO_REUSEPORT group: the kernel spreads connections over
them, and those that wait for a slot whose worker has died wait for its next worker. A Unix-domain address has
one socket that all workers share. A change is prepared as a whole, then committed or cancelled as a whole.
"""

import array
import errno
import os
import socket
import stat
import struct
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from fastmesh.control.owner import Owner, owners_of_path, owners_of_port
from fastmesh.control.snapshot import Address, ListenerSpec

SO_ATTACH_REUSEPORT_CBPF = 51
SO_DETACH_REUSEPORT_BPF = 68
SO_ATTACH_FILTER = 26
SO_DETACH_FILTER = 27
FAMILIES = {4: socket.AF_INET, 6: socket.AF_INET6, 1: socket.AF_UNIX}

# Classic BPF, see linux/filter.h. SKF_AD_RANDOM: a random number instead of a field of the packet.
BPF_LOAD_RANDOM = (0x20, 0, 0, 0xFFFFF000 + 56)
BPF_MODULO = 0x94
BPF_JUMP_IF_EQUAL = 0x15
BPF_RETURN = 0x06
# Of a TCP segment: drop it when it begins a connection (SYN without ACK), else let all of it pass.
NO_NEWCOMERS = ((0x30, 0, 0, 13), (0x54, 0, 0, 0x12), (BPF_JUMP_IF_EQUAL, 0, 1, 0x02), (BPF_RETURN, 0, 0, 0),
                (BPF_RETURN, 0, 0, 0xFFFFFFFF))


class CannotListen(Exception):
    """Addresses that cannot be listened on, one line for each. The text is for people."""


@dataclass(slots=True)
class Bound:
    """The sockets of one address."""

    address: Address
    backlog: int
    sockets: list[socket.socket] = field(default_factory=list)
    inode: tuple[int, int] | None = None    # of a Unix-domain socket's file
    is_shared: bool = False                 # with a dying control's workers: the group holds sockets of theirs
    is_steered: bool = False

    @property
    def is_unix(self) -> bool:
        return self.address["family"] == 1

    def of_slot(self, slot: int) -> socket.socket:
        return self.sockets[0 if self.is_unix else slot]

    def listen(self) -> None:
        """In the order of slots, which is the order of the group's members that `steer` counts on."""
        for sock in self.sockets:
            sock.listen(self.backlog)

    def shrink(self, slots: int) -> None:
        """Close the sockets of slots that are no more."""
        while len(self.sockets) > slots and not self.is_unix:
            self.sockets.pop().close()

    def turn_away(self) -> None:
        """Begin no new connection; those that have begun still reach the queue.

        A connection that is established between a worker's last accept and the close would be reset. A newcomer
        whose first packet is dropped tries again within a second, and is refused plainly if the socket is gone.
        """
        if self.is_unix:
            if self._is_ours(self.address["path"]):
                os.rename(self.address["path"], self._aside)
            return
        for sock in self.sockets:
            _attach(sock, SO_ATTACH_FILTER, NO_NEWCOMERS)

    def let_in(self) -> None:
        """Take `turn_away` back."""
        if self.is_unix:
            if self._is_ours(self._aside) and not os.path.lexists(self.address["path"]):
                os.rename(self._aside, self.address["path"])
            return
        for sock in self.sockets:
            try:
                sock.setsockopt(socket.SOL_SOCKET, SO_DETACH_FILTER, 0)
            except OSError:
                pass        # there was none

    def close(self) -> None:
        """Close everything, and remove the file if it is still the one that was made here."""
        self._remove_file()
        for sock in self.sockets:
            sock.close()
        self.sockets.clear()

    @property
    def _aside(self) -> str:
        """Where a Unix-domain socket's file is while nobody is to find it."""
        return self.address["path"] + ".leaving"

    def _is_ours(self, path: str) -> bool:
        return self.inode is not None and _inode(path) == self.inode

    def _remove_file(self) -> None:
        for path in (self.address["path"], self._aside) if self.is_unix else ():
            if self._is_ours(path):
                os.unlink(path)
        self.inode = None

    def steer(self, slots: Sequence[int]) -> None:
        """Let the kernel give new connections to these slots only; all of them = as the kernel likes.

        Connections that wait in the queue of another slot stay there. A kernel that refuses changes nothing:
        then new connections wait for a slot's next worker.
        """
        total = len(self.sockets)
        everybody = len(slots) == total
        if self.is_unix or self.is_shared or not slots or total < 2 or (everybody and not self.is_steered):
            return
        try:
            if everybody:
                self.sockets[0].setsockopt(socket.SOL_SOCKET, SO_DETACH_REUSEPORT_BPF, 0)
            else:
                if not _attach(self.sockets[0], SO_ATTACH_REUSEPORT_CBPF, steering_program(slots)):
                    return
        except OSError:
            return
        self.is_steered = not everybody


Instruction = tuple[int, int, int, int]


def _attach(sock: socket.socket, option: int, program: Sequence[Instruction]) -> bool:
    """Give a classic BPF program to a socket. False when the kernel does not take it."""
    code = array.array("B", b"".join(struct.pack("=HBBI", *instruction) for instruction in program))
    try:
        sock.setsockopt(socket.SOL_SOCKET, option, struct.pack("@HP", len(program), code.buffer_info()[0]))
    except OSError:
        return False
    return True


def steering_program(slots: Sequence[int]) -> list[Instruction]:
    """Classic BPF that returns one of `slots`, each as often as the others."""
    code: list[Instruction] = [BPF_LOAD_RANDOM, (BPF_MODULO, 0, 0, len(slots))]
    for i, slot in enumerate(slots):
        code += [(BPF_JUMP_IF_EQUAL, 0, 1, i), (BPF_RETURN, 0, 0, slot)]
    code.append((BPF_RETURN, 0, 0, slots[0]))
    return code


class Change:
    """Sockets for another set of listeners or another number of slots, opened but not yet in use."""

    def __init__(self, shelf: "SocketShelf", wanted: dict[str, Bound],
                 added: list[tuple[Bound, socket.socket]]) -> None:
        self._shelf = shelf
        self._added = added
        self.wanted = wanted        # address → its sockets, after the change

    def socket_of(self, spec: ListenerSpec, slot: int) -> int:
        """The descriptor of a listener's socket for the worker of a slot."""
        return self.wanted[spec.address["text"]].of_slot(slot).fileno()

    def leaving(self) -> list[Bound]:
        """The TCP addresses that are gone after the change."""
        return [bound for address, bound in self._shelf.bound.items()
                if address not in self.wanted and not bound.is_unix]

    def listen(self) -> None:
        """Accept connections on the new addresses. From here on clients see them."""
        for address, bound in self.wanted.items():
            if address not in self._shelf.bound:
                bound.listen()

    def commit(self, specs: Iterable[ListenerSpec]) -> None:
        """Keep what is new, close what is gone."""
        backlogs = {spec.address["text"]: spec.backlog for spec in specs}
        for address, bound in self._shelf.bound.items():
            if address not in self.wanted:
                bound.close()
        self._shelf.bound = self.wanted
        self._shelf.reserved = 0
        for address, bound in self.wanted.items():
            bound.backlog = backlogs[address]
            bound.listen()          # of one that listens already: takes over the backlog

    def cancel(self) -> None:
        """Close what is new; everything else is as it was."""
        self._shelf.reserved = 0
        for bound, sock in self._added:
            if bound.address["text"] not in self._shelf.bound:
                bound.close()
            elif sock in bound.sockets:
                bound.sockets.remove(sock)
            sock.close()


class SocketShelf:
    """All listening sockets there are."""

    def __init__(self) -> None:
        self.bound: dict[str, Bound] = {}
        self.reserved = 0                       # slots that a prepared change counts on
        self.orphans: dict[int, Owner] = {}     # workers of a control process that died, found on our addresses

    def prepare(self, specs: Iterable[ListenerSpec], slots: int) -> Change:
        """Open what is missing. Raises CannotListen, naming everything that is wrong, and leaves nothing behind."""
        wanted: dict[str, Bound] = {}
        added: list[tuple[Bound, socket.socket]] = []
        problems: list[str] = []
        change = Change(self, wanted, added)
        self.reserved = slots
        for spec in specs:
            address = spec.address["text"]
            bound = self.bound.get(address) or Bound(spec.address, spec.backlog)
            wanted[address] = bound
            try:
                while len(bound.sockets) < (1 if bound.is_unix else slots):
                    sock = self._open(bound)
                    bound.sockets.append(sock)
                    added.append((bound, sock))
            except OSError as error:
                problems.append(f"listener {spec.name}: cannot listen on {address}: {self._why(spec.address, error)}")
        if problems:
            change.cancel()
            raise CannotListen("\n".join(problems))
        return change

    def socket_of(self, spec: ListenerSpec, slot: int) -> int:
        """The descriptor of a listener's socket for the worker of a slot."""
        return self.bound[spec.address["text"]].of_slot(slot).fileno()

    def steer(self, slots: Sequence[int]) -> None:
        for bound in self.bound.values():
            bound.steer(slots)

    def shrink(self, slots: int) -> None:
        """Close the sockets of slots that are no more."""
        for bound in self.bound.values():
            bound.shrink(max(slots, self.reserved))

    def turn_away(self) -> None:
        """Begin no new connection anywhere; what the kernel has let in can still be accepted."""
        for bound in self.bound.values():
            bound.turn_away()

    def close(self) -> None:
        """Stop listening everywhere: from here on clients are refused."""
        for bound in self.bound.values():
            bound.close()
        self.bound = {}

    def _open(self, bound: Bound) -> socket.socket:
        address = bound.address
        if bound.is_unix:
            return self._open_unix(bound)
        if not bound.sockets and not any(_overlap(address, other.address) for other in self.bound.values()):
            self._probe(bound)
        sock = _tcp_socket(address)
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            sock.bind((address["host"], address["port"]))
        except OSError:
            sock.close()
            raise
        return sock

    def _probe(self, bound: Bound) -> None:
        """Fail when somebody else listens there.

        SO_REUSEPORT would let two sidecars of one user share a port, and each lose half of its connections.
        """
        address = bound.address
        with _tcp_socket(address) as sock:
            try:
                sock.bind((address["host"], address["port"]))
            except OSError as error:
                if error.errno != errno.EADDRINUSE or not self._only_orphans(owners_of_port(address["port"])):
                    raise
                bound.is_shared = True

    def _open_unix(self, bound: Bound) -> socket.socket:
        path = bound.address["path"]
        _clear_path(path, lambda: self._only_orphans(owners_of_path(path)))
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        try:
            sock.bind(path)
        except OSError:
            sock.close()
            raise
        bound.inode = _inode(path)
        return sock

    def _only_orphans(self, owners: list[Owner]) -> bool:
        if not owners or not all(owner.is_orphan_worker for owner in owners):
            return False
        self.orphans.update((owner.pid, owner) for owner in owners)
        return True

    def _why(self, address: Address, error: OSError) -> str:
        if error.errno == errno.EADDRINUSE:
            owners = owners_of_path(address["path"]) if address["family"] == 1 else owners_of_port(address["port"])
            others = [str(owner) for owner in owners if owner.control_pid != os.getpid() and owner.pid != os.getpid()]
            return (f"in use by {', '.join(others)}" if others else "in use by another process") + \
                "; end that one, or choose another address"
        if error.errno == errno.EACCES and 0 < address["port"] < 1024:
            return "permission denied: ports below 1024 need root or CAP_NET_BIND_SERVICE"
        if error.errno == errno.EADDRNOTAVAIL:
            return "no network interface of this machine has this address"
        if error.errno == errno.EAFNOSUPPORT:
            return "this machine has no IPv6" if address["family"] == 6 else "address family not supported"
        return error.strerror or str(error)


def open_admin(address: Address, held: Bound | None) -> Bound:
    """A listening socket for the admin API, beside the one that is `held` now. Raises CannotListen."""
    spec = ListenerSpec(0, "admin", address, "http", "inbound", 128)
    shelf = SocketShelf()
    if held is not None:
        shelf.bound[held.address["text"]] = held
    change = shelf.prepare([spec], 1)
    change.listen()
    return change.wanted[address["text"]]


def _overlap(one: Address, other: Address) -> bool:
    """Both could receive the same connection."""
    wild = ("0.0.0.0", "::")
    return (one["family"] == other["family"] != 1 and one["port"] == other["port"]
            and (one["host"] == other["host"] or one["host"] in wild or other["host"] in wild))


def _tcp_socket(address: Address) -> socket.socket:
    sock = socket.socket(FAMILIES[address["family"]], socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if address["family"] == 6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    return sock


def _clear_path(path: str, is_orphans: Callable[[], bool]) -> None:
    """Remove a socket file that nobody answers. Anything else is left alone, and is an error."""
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise OSError(errno.EEXIST, "the file exists and is not a socket; it is left alone")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as caller:
        try:
            caller.connect(path)
        except ConnectionRefusedError:
            is_answered = False
        except BlockingIOError:     # its queue is full: somebody is there
            is_answered = True
        else:
            is_answered = True
    if is_answered and not is_orphans():
        raise OSError(errno.EADDRINUSE, "in use")
    os.unlink(path)


def _inode(path: str) -> tuple[int, int] | None:
    try:
        found = os.lstat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino
