"""From a regular expression's tree to a table that takes one step for each byte.

Glushkov's construction: each set of bytes in the tree is a position, a state is the set of positions where a text may
have come to. The work is counted, so a tree whose table would be enormous is given up early.
"""

from typing import NamedTuple

MAX_POSITIONS = 2_000
MAX_STATES = 2_048
MAX_CELLS = 65_536          # states times classes of bytes
MAX_WORK = 1_000_000        # positions looked at
MAX_ROUNDS = 32             # of making a table smaller; one that needs more stays as it is
DEAD, START = 0, 1
# What is known when a text ends in a state, or comes to it.
NO, YES, WHATEVER_FOLLOWS = 0, 1, 2

# Trees are tuples: ("set", bytes as a mask of 256 bits), ("cat", tree, …), ("alt", tree, …), ("repeat", tree, low,
# high or None), ("group", its number, its name or "", tree).
Tree = tuple[object, ...]
EMPTY: Tree = ("cat",)


class TooLarge(Exception):
    """The table would be larger than it may be."""


class Automaton(NamedTuple):
    """Takes whole texts. `table[state * n_classes + classes[byte]]` is the next state."""

    classes: bytes              # 256: the class of each byte
    n_classes: int
    flags: bytes                # for each state: NO, YES or WHATEVER_FOLLOWS
    table: tuple[int, ...]

    def matches(self, text: bytes) -> bool:
        """What the compiled code finds too; for tests, and for checks that are made once."""
        state = START
        for byte in text:
            state = self.table[state * self.n_classes + self.classes[byte]]
        return self.flags[state] != NO

    def takes_all_behind(self, text: bytes) -> bool:
        """Every text that begins so is taken."""
        state = START
        for byte in text:
            state = self.table[state * self.n_classes + self.classes[byte]]
        return self.flags[state] == WHATEVER_FOLLOWS

    def may_begin(self, text: bytes) -> bool:
        """Some text that begins so is taken."""
        state = START
        for byte in text:
            state = self.table[state * self.n_classes + self.classes[byte]]
        return state != DEAD

    def only_behind(self, text: bytes, byte: int) -> bool:
        """Of the texts that begin so, those that are taken end there or go on with `byte`."""
        state = START
        for one in text:
            state = self.table[state * self.n_classes + self.classes[one]]
        row = self.table[state * self.n_classes:(state + 1) * self.n_classes]
        return all(row[self.classes[one]] == DEAD for one in range(256) if one != byte)


class _Positions:
    """The sets of a tree, and which may follow which, as masks of positions. Position 0 is the beginning."""

    def __init__(self, tree: Tree) -> None:
        self.sets: list[int] = [0]
        self.follow: list[int] = [0]
        self.work = 0
        nullable, first, last = self._walk(tree)
        self.follow[0] = first
        self.ends = last | (1 if nullable else 0)

    def _walk(self, tree: Tree) -> tuple[bool, int, int]:
        """Whether it takes the empty text, and the positions where it may begin and end."""
        self.work += 1
        if self.work > MAX_WORK:
            raise TooLarge
        kind = tree[0]
        if kind == "set":
            if len(self.sets) > MAX_POSITIONS:
                raise TooLarge
            self.sets.append(tree[1])  # type: ignore[arg-type]
            self.follow.append(0)
            bit = 1 << (len(self.sets) - 1)
            return False, bit, bit
        if kind == "alt":
            nullable, first, last = False, 0, 0
            for part in tree[1:]:
                found = self._walk(part)  # type: ignore[arg-type]
                nullable, first, last = nullable or found[0], first | found[1], last | found[2]
            return nullable, first, last
        if kind == "repeat":
            return self._repeat(*tree[1:])  # type: ignore[arg-type]
        if kind == "group":
            return self._walk(tree[3])  # type: ignore[arg-type]
        joined = (True, 0, 0)
        for part in tree[1:]:
            joined = self._join(joined, self._walk(part))  # type: ignore[arg-type]
        return joined

    def _repeat(self, tree: Tree, low: int, high: int | None) -> tuple[bool, int, int]:
        joined = (True, 0, 0)
        for _ in range(low if high is not None else max(low - 1, 0)):
            joined = self._join(joined, self._walk(tree))
        if high is None:
            _, first, last = found = self._walk(tree)
            self._link(last, first)
            return self._join(joined, (low == 0 or found[0], first, last))
        # (x(x(x)?)?)?, from the inside: each further one may be left out only together with those behind it.
        rest: list[tuple[bool, int, int]] = [self._walk(tree) for _ in range(high - low)]
        behind = (True, 0, 0)
        for one in reversed(rest):
            joined_one = self._join(one, behind)
            behind = (True, joined_one[1], joined_one[2])
        return self._join(joined, behind)

    def _join(self, a: tuple[bool, int, int], b: tuple[bool, int, int]) -> tuple[bool, int, int]:
        self._link(a[2], b[1])
        return a[0] and b[0], a[1] | (b[1] if a[0] else 0), b[2] | (a[2] if b[0] else 0)

    def _link(self, last: int, first: int) -> None:
        if not first:
            return
        for at in _bits(last):
            self.work += 1
            self.follow[at] |= first
        if self.work > MAX_WORK:
            raise TooLarge


def build(tree: Tree) -> Automaton:
    """The table of a tree. Raises TooLarge."""
    positions = _Positions(tree)
    classes, members = _classes(positions.sets)
    states = {0: DEAD, 1: START}
    queue = [1]
    rows: list[list[int]] = [[DEAD] * len(members)]
    work = positions.work
    for state in queue:
        row = []
        reach = 0
        for at in _bits(state):
            reach |= positions.follow[at]
        for member in members:
            target = reach & member
            if target not in states:
                states[target] = len(states)
                queue.append(target)
                if len(states) > MAX_STATES or len(states) * len(members) > MAX_CELLS:
                    raise TooLarge
            row.append(states[target])
        work += state.bit_count() + len(members)
        if work > MAX_WORK:
            raise TooLarge
        rows.append(row)
    ends = [False, *(bool(state & positions.ends) for state in queue)]
    return _smallest(classes, len(members), rows, ends)


def backwards(tree: Tree) -> Tree:
    """What takes the same texts read from their ends."""
    if tree[0] == "set":
        return tree
    if tree[0] == "repeat":
        return ("repeat", backwards(tree[1]), *tree[2:])  # type: ignore[arg-type]
    if tree[0] == "group":
        return backwards(tree[3])  # type: ignore[arg-type]
    parts = [backwards(part) for part in tree[1:]]  # type: ignore[arg-type]
    return (tree[0], *(reversed(parts) if tree[0] == "cat" else parts))


def _classes(sets: list[int]) -> tuple[bytes, list[int]]:
    """The class of each byte, and for each class the positions that take its bytes. Bytes that every set takes or
    leaves alike are one class."""
    same: dict[int, int] = {}
    for at, mask in enumerate(sets):
        same[mask] = same.get(mask, 0) | 1 << at
    takers = [0] * 256
    for mask, places in same.items():
        for byte in _bits(mask):
            takers[byte] |= places
    numbers: dict[int, int] = {}
    classes = bytes(numbers.setdefault(mask, len(numbers)) for mask in takers)
    return classes, list(numbers)


def _smallest(classes: bytes, n_classes: int, rows: list[list[int]], ends: list[bool]) -> Automaton:
    """States that no text tells apart made one (Moore), the dead one first and the start second."""
    group = [int(end) for end in ends]
    count = len(set(group))
    for _ in range(MAX_ROUNDS):
        numbers: dict[tuple[int, ...], int] = {}
        group = [numbers.setdefault((group[at], *(group[to] for to in row)), len(numbers))
                 for at, row in enumerate(rows)]
        if len(numbers) == count:
            break
        count = len(numbers)
    else:
        group = list(range(len(rows)))
    if group[START] == group[DEAD]:
        return Automaton(classes, n_classes, bytes((NO, NO)), (DEAD,) * (2 * n_classes))
    # Groups are numbered as their first states come, so these two keep their numbers.
    kept: dict[int, int] = {}
    for at, number in enumerate(group):
        kept.setdefault(number, at)
    table = tuple(group[to] for at in kept.values() for to in rows[at])
    flags = bytes(
        NO if not ends[at] else WHATEVER_FOLLOWS if all(group[to] == number for to in rows[at]) else YES
        for number, at in kept.items())
    return Automaton(classes, n_classes, flags, table)


def _bits(mask: int) -> list[int]:
    """The places of the bits that are set."""
    places = []
    while mask:
        low = mask & -mask
        places.append(low.bit_length() - 1)
        mask ^= low
    return places
