"""Regular expressions of rules: read here, compiled to a table, walked by the workers in one step for each byte.

What cannot be told by such a table (back-references, looking around) is refused, so no text makes a match slow. They
match whole texts: a path without its query, a header's value.
"""

import functools
import string
from typing import NamedTuple, NoReturn

from fastmesh.config.automaton import EMPTY, Automaton, TooLarge, Tree, build
from fastmesh.errors import WrongValue

MAX_TEXT = 1_024
MAX_REPEAT = 1_000
_MAX_DEPTH = 32
ALLOWED = "a regular expression without back-references and looking around"

_ALL = (1 << 256) - 1


def _mask(characters: str) -> int:
    mask = 0
    for character in characters:
        mask |= 1 << ord(character)
    return mask


_DIGIT = _mask(string.digits)
_WORD = _mask(string.digits + string.ascii_letters + "_")
_SPACE = _mask(" \t\n\r\f\v")
_SHORTHANDS = {"d": _DIGIT, "D": _ALL ^ _DIGIT, "w": _WORD, "W": _ALL ^ _WORD, "s": _SPACE, "S": _ALL ^ _SPACE}
_CONTROLS = {"t": 9, "n": 10, "v": 11, "f": 12, "r": 13}
_NAMED = {"alpha": string.ascii_letters, "digit": string.digits, "alnum": string.ascii_letters + string.digits,
          "upper": string.ascii_uppercase, "lower": string.ascii_lowercase, "xdigit": string.hexdigits,
          "space": " \t\n\r\f\v", "punct": string.punctuation}


class Regex(NamedTuple):
    """A regular expression that can be used."""

    text: str
    automaton: Automaton
    literal: bytes              # every text that matches begins with it
    tree: Tree


@functools.lru_cache(maxsize=4096)
def compile_regex(text: str) -> Regex:
    """Raises WrongValue."""
    if not text or len(text) > MAX_TEXT:
        raise WrongValue("an empty one" if not text else f"{len(text):,} characters",
                         f"a regular expression of 1 to {MAX_TEXT:,} characters")
    return of_tree(text, _Reader(text).read())


def of_tree(text: str, tree: Tree) -> Regex:
    """The same for what was read already. Raises WrongValue."""
    try:
        automaton = build(tree)
    except TooLarge:
        raise WrongValue(_shown(text), "one whose table has at most 2,048 states",
                         "make what repeats shorter, or write several routes") from None
    return Regex(text, automaton, bytes(_literal(tree)), tree)


def literal_tree(text: bytes) -> Tree:
    """Takes exactly these bytes."""
    return ("cat", *(("set", 1 << byte) for byte in text))


def _literal(tree: Tree) -> list[int]:
    """The bytes that every text of it begins with, as far as they are seen without effort."""
    if tree[0] == "set":
        mask: int = tree[1]  # type: ignore[assignment]
        return [mask.bit_length() - 1] if mask.bit_count() == 1 else []
    if tree[0] == "group":
        return _literal(tree[3])  # type: ignore[arg-type]
    begun: list[int] = []
    if tree[0] == "cat":
        for part in tree[1:]:
            found = _literal(part)  # type: ignore[arg-type]
            begun += found
            if len(found) != 1 or part[0] != "set":  # type: ignore[index]
                break
    return begun


def _shown(text: str) -> str:
    return repr(text if len(text) <= 60 else text[:57] + "…")


class _Reader:
    """Reads one expression from left to right. A dot is any byte: where these match there are no lines."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.depth = 0
        self.folds = False
        self.groups = 0

    def read(self) -> Tree:
        if self.text.startswith("(?i)"):
            self.folds = True
            self.at = 4
        # The whole text is matched anyway.
        if self._next() == "^":
            self.at += 1
        tree = self._alternatives()
        if self.at < len(self.text):
            self._refuse("a ) that closes nothing", "write \\) for the character itself")
        return tree

    def _refuse(self, what: str, hint: str = "", at: int | None = None) -> NoReturn:
        place = (self.at if at is None else at) + 1
        raise WrongValue(f"{_shown(self.text)} with {what} at character {place}", ALLOWED, hint)

    def _next(self) -> str:
        return self.text[self.at] if self.at < len(self.text) else ""

    def _alternatives(self) -> Tree:
        parts = [self._sequence()]
        while self._next() == "|":
            self.at += 1
            parts.append(self._sequence())
        return parts[0] if len(parts) == 1 else ("alt", *parts)

    def _sequence(self) -> Tree:
        parts: list[Tree] = []
        while (character := self._next()) and character not in "|)":
            if character == "$" and self.at == len(self.text) - 1:
                self.at += 1
                break
            parts.append(self._repeated(self._one()))
        return parts[0] if len(parts) == 1 else ("cat", *parts)

    def _one(self) -> Tree:
        at, character = self.at, self.text[self.at]
        self.at += 1
        if character == "(":
            return self._group(at)
        if character == "[":
            return ("set", self._class(at))
        if character == ".":
            return ("set", _ALL)
        if character == "\\":
            mask = self._escape(at)
            return ("set", self._fold(mask))
        if character in "*+?":
            self._refuse(f"{character} behind nothing", f"write \\{character} for the character itself", at)
        if character in "^$":
            where = "beginning" if character == "^" else "end"
            self._refuse(f"{character} in the middle", f"the whole text is matched: leave it out, or write it at the "
                         f"{where}; the character itself is \\{character}", at)
        if not character.isascii():
            return literal_tree(character.encode("utf-8", "surrogatepass"))
        return ("set", self._fold(1 << ord(character)))

    def _fold(self, mask: int) -> int:
        if not self.folds:
            return mask
        for small in range(97, 123):
            pair = 1 << small | 1 << (small - 32)
            if mask & pair:
                mask |= pair
        return mask

    def _group(self, at: int) -> Tree:
        is_kept, name = True, ""
        if self._next() == "?":
            rest = self.text[self.at + 1:]
            if rest.startswith(":"):
                self.at += 2
                is_kept = False
            elif rest.startswith("P<") and ">" in rest:
                name = rest[2:rest.index(">")]
                if not name.isascii() or not name.isidentifier():
                    self._refuse(f"a group with the name {name!r}", "letters, digits and _", at)
                self.at += 2 + rest.index(">")
            elif rest[:1] in ("=", "!", "<"):
                self._refuse("looking around", "write what the text is, not what it is not", at)
            else:
                self._refuse(f"(?{rest[:1]}", "(?:…) is a group, (?i) at the beginning ignores the case of letters", at)
        if is_kept:
            self.groups += 1
        number = self.groups
        self.depth += 1
        if self.depth > _MAX_DEPTH:
            self._refuse(f"more than {_MAX_DEPTH} groups within each other", at=at)
        tree = self._alternatives()
        self.depth -= 1
        if self._next() != ")":
            self._refuse("a ( that is not closed", "write \\( for the character itself", at)
        self.at += 1
        return ("group", number, name, tree) if is_kept else tree

    def _escape(self, at: int) -> int:
        character = self._next()
        if not character:
            self._refuse("a \\ behind which nothing stands", "write \\\\ for the character itself", at)
        self.at += 1
        if character in _SHORTHANDS:
            return _SHORTHANDS[character]
        if character in _CONTROLS:
            return 1 << _CONTROLS[character]
        if character == "x":
            digits = self.text[self.at:self.at + 2]
            if len(digits) != 2 or any(digit not in string.hexdigits for digit in digits):
                self._refuse("\\x without two hexadecimal digits", at=at)
            self.at += 2
            return 1 << int(digits, 16)
        if character.isdigit():
            self._refuse(f"the back-reference \\{character}", "", at)
        if character.isalpha() or not character.isascii():
            self._refuse(f"the unknown escape \\{character}",
                         "\\b, \\A and \\Z are not there: the whole text is matched" if character in "bBAZz" else "",
                         at)
        return 1 << ord(character)

    def _class(self, at: int) -> int:
        negated = self._next() == "^"
        if negated:
            self.at += 1
        mask = 0
        is_first = True
        while is_first or self._next() != "]":
            is_first = False
            low = self._member(at)
            if low < 0:
                mask |= -low
                continue
            if self._next() == "-" and self.text[self.at + 1:self.at + 2] not in ("]", ""):
                self.at += 1
                high = self._member(at)
                if high < low:
                    self._refuse("a range that goes backwards, or to a class", at=at)
                mask |= ((1 << (high - low + 1)) - 1) << low
            else:
                mask |= 1 << low
        self.at += 1
        mask = self._fold(mask)
        return _ALL ^ mask if negated else mask

    def _member(self, at: int) -> int:
        """The number of one character of a class, or the mask of several, negated."""
        character = self._next()
        if not character:
            self._refuse("a [ that is not closed", "write \\[ for the character itself", at)
        if self.text.startswith("[:", self.at):
            name, end, _ = self.text[self.at + 2:].partition(":]")
            if end and name in _NAMED:
                self.at += len(name) + 4
                return -_mask(_NAMED[name])
        self.at += 1
        if character == "\\":
            mask = self._escape(at)
            return mask.bit_length() - 1 if mask.bit_count() == 1 else -mask
        if not character.isascii():
            self._refuse(f"{character!r} in a class, where only ASCII stands", "write (?:…|…)", at)
        return ord(character)

    def _repeated(self, tree: Tree) -> Tree:
        while (character := self._next()) and character in "*+?{":
            at = self.at
            self.at += 1
            if character == "{":
                bounds = self._bounds(at)
                if bounds is None:
                    self._refuse("{ that is no count", "write \\{ for the character itself", at)
                low, high = bounds
            else:
                low, high = {"*": (0, None), "+": (1, None), "?": (0, 1)}[character]
            tree = EMPTY if high == 0 else ("repeat", tree, low, high)
            if self._next() == "?":
                self.at += 1        # lazy: of whole texts it takes the same ones
            elif self._next() == "+":
                self._refuse("a possessive quantifier", "leave out the +")
        return tree

    def _bounds(self, at: int) -> tuple[int, int | None] | None:
        inner, end, _ = self.text[self.at:].partition("}")
        low, comma, high = inner.partition(",")
        if not end or not low.isdigit() or (high and not high.isdigit()) or len(inner) > 16:
            return None
        self.at += len(inner) + 1
        least, most = int(low), int(high) if high else None if comma else int(low)
        if max(least, most or 0) > MAX_REPEAT or (most is not None and most < least):
            self._refuse(f"{{{inner}}}", f"at most {MAX_REPEAT:,} times, the smaller number first", at)
        return least, most
