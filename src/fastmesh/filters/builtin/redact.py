"""What nobody should read is taken out of answers while they stream."""

import re
from itertools import pairwise

from fastmesh import Filter, Request, Response

Found = tuple[int, int]         # where it begins and ends
LONGEST = 1024                  # bytes of a match; what is held back follows from it
BEFORE = 16                     # bytes kept of what was sent, for what a pattern asks of the text before a match

EMAIL = re.compile(rb"(?<![\w.%+-])[\w.%+-]{1,64}@(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,62})\.){1,4}[A-Za-z]{2,24}(?![\w-])")
EMAIL_LONGEST = 64 + 1 + 4 * 64 + 24
CARD = re.compile(rb"(?<![0-9])(?:[0-9][ -]?){12,18}[0-9](?![0-9])")
CARD_LONGEST = 18 * 2 + 1
CARD_DIGITS = range(19, 12, -1)
DIGIT = re.compile(rb"[0-9]")


class Pattern:
    """Something to look for. Whether it stands at a place is known once `longest` bytes behind it are there."""

    def __init__(self, expression: re.Pattern[bytes], longest: int) -> None:
        self.expression = expression
        self.longest = longest

    def find(self, text: bytes, start: int) -> Found | None:
        found = self.expression.search(text, start)
        return found.span() if found else None


class Card(Pattern):
    """Numbers of payment cards: 13 to 19 digits, perhaps in groups, whose check digit is right."""

    def find(self, text: bytes, start: int) -> Found | None:
        while found := self.expression.search(text, start):
            digits = [at.start() for at in DIGIT.finditer(text, found.start(), found.end())]
            for count in CARD_DIGITS:
                # A number may be followed by another one, with a space between them.
                if count <= len(digits) and (count == len(digits) or digits[count] > digits[count - 1] + 1) and (
                        luhn([text[at] - 48 for at in digits[:count]])):
                    return digits[0], digits[count - 1] + 1
            # Or the number is behind some digits of something else.
            start = next((at for before, at in pairwise(digits) if at > before + 1), found.end())
        return None


def luhn(digits: list[int]) -> bool:
    """The check digit of card numbers is right."""
    total = sum(digits[-1::-2]) + sum(digit * 2 - 9 * (digit > 4) for digit in digits[-2::-2])
    return total % 10 == 0


class Redact(Filter):
    """Puts `mask` in place of e-mail addresses, card numbers and whatever else `patterns` match in answers.

    The result is the same however the body is cut into pieces: so many bytes are held back as the longest match may
    have. That is why patterns need an upper bound (`{1,64}`, not `+`), at most 1,024 bytes, and may not look ahead or
    behind, nor at the text's beginning or end. The upstream is asked for plain answers in one piece; a compressed one
    is refused with 502.
    """

    security = True
    budget = "10ms"

    emails: bool = True
    cards: bool = True
    patterns: tuple[str, ...] = ()
    mask: str = "[redacted]"
    types: tuple[str, ...] = ("text/", "application/json", "application/xml", "application/x-ndjson",
                              "application/javascript", "application/graphql-response+json", "application/problem+json")

    def start(self) -> None:
        self.looks: list[Pattern] = []
        if self.emails:
            self.looks.append(Pattern(EMAIL, EMAIL_LONGEST))
        if self.cards:
            self.looks.append(Card(CARD, CARD_LONGEST))
        self.looks += [bounded(text) for text in self.patterns]
        if not self.looks:
            raise ValueError("there is nothing to look for: emails and cards are off and patterns is empty")
        # A byte behind a match is looked at, too (\b, no digit behind a card number).
        self.reach = max(look.longest for look in self.looks) + 2
        self.cover = self.mask.encode()

    def on_request(self, request: Request) -> None:
        # Neither a compressed body nor a part of one can be read here.
        request.headers["accept-encoding"] = "identity"
        request.headers.discard("range")
        request.headers.discard("if-range")

    def on_response(self, request: Request, response: Response) -> Response | None:
        if response.is_local:
            return None             # it has no body phases, and nothing of the upstream's in it
        if not response.headers.get("content-type", "text/").lower().startswith(self.types):
            return None
        if response.headers.get("content-encoding", "identity").lower() != "identity":
            return Response(502, text="the answer is compressed and cannot be read\n")
        for name in ("accept-ranges", "content-md5", "digest", "repr-digest", "content-digest"):
            response.headers.discard(name)
        request.state[self.name] = Held()
        return None

    def on_response_chunk(self, request: Request, response: Response, chunk: bytes, last: bool) -> bytes | None:
        held: Held | None = request.state.get(self.name)
        return None if held is None else self.redacted(held, chunk, last)

    def redacted(self, held: "Held", chunk: bytes, last: bool) -> bytes:
        """What may be sent after one more piece."""
        text, at = held.text + chunk, held.at
        end = len(text) if last else len(text) - self.reach       # from here on, a match might still begin
        if end <= at and not last:
            held.text = text
            return b""
        parts: list[bytes] = []
        nearest = [look.find(text, at) for look in self.looks]
        while True:
            found = min((each for each in nearest if each is not None), default=None, key=lambda each: each[0])
            if found is None or found[0] >= end:
                break
            parts += (text[at:found[0]], self.cover)
            at = found[1]
            nearest = [each if each is None or each[0] >= at else look.find(text, at)
                       for look, each in zip(self.looks, nearest, strict=True)]
        if end > at:
            parts.append(text[at:end])
            at = end
        kept = max(0, at - BEFORE)
        held.text, held.at = text[kept:], at - kept
        return b"".join(parts)


class Held:
    """What has come of a body and is not sent, with a little of what is."""

    __slots__ = ("at", "text")

    def __init__(self) -> None:
        self.text = b""
        self.at = 0             # up to here it is sent


def bounded(text: str) -> Pattern:
    """A pattern of the configuration. Raises ValueError for one whose matches have no bound."""
    # The only one that knows how long a match can be.
    from re import _parser  # type: ignore[attr-defined]

    try:
        expression = re.compile(text.encode())
    except re.error as error:
        raise ValueError(f"patterns: {text!r}: {error}") from None
    tree = _parser.parse(text.encode())
    shortest, longest = tree.getwidth()
    if longest > LONGEST:
        raise ValueError(f"patterns: {text!r} may match more than {LONGEST} bytes; write {{1,64}} in place of + and "
                         "{0,64} in place of *")
    if not shortest:
        raise ValueError(f"patterns: {text!r} matches the empty text, and so everywhere")
    unfit = looks_around(tree)
    if unfit:
        raise ValueError(f"patterns: {text!r}: {unfit} depends on how the body is cut into pieces; leave it out")
    return Pattern(expression, longest)


def looks_around(tree: object) -> str:
    """What in a parsed pattern asks for more than the bytes of the match and its two neighbours."""
    words = repr(tree)
    for mark, name in (("ASSERT", "(?=…), (?!…), (?<=…) or (?<!…)"), ("AT_BEGINNING", "^ or \\A"),
                       ("AT_END", "$ or \\Z")):
        if mark in words:
            return name
    return ""
