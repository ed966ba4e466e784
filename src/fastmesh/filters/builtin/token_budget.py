"""Answers of language models end when their tokens are used up."""

import re
from collections.abc import AsyncIterator
from json import loads

from fastmesh import Duration, Filter, Request, Response, Size, shared

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# A blank line ends an event, and a line ends with CR, LF or both: (?>…) does not take CR LF for two ends.
EVENT_END = re.compile(rb"(?>\r\n|\n|\r)(?>\r\n|\n|\r)")
LINE_END = re.compile(rb"\r\n|\n|\r")
# What clients of the two usual interfaces understand as "the answer is as long as it may be".
ENDINGS = {
    "openai": 'data: {"choices":[{"index":0,"delta":{},"finish_reason":"length"}]}\n\ndata: [DONE]\n\n',
    "anthropic": 'event: message_delta\ndata: {"type":"message_delta","delta":{"stop_reason":"max_tokens"},'
                 '"usage":{"output_tokens":%d}}\n\nevent: message_stop\ndata: {"type":"message_stop"}\n\n',
}
USED = ("completion_tokens", "output_tokens", "total_tokens")
LONGEST_KEY = 256


class TokenBudget(Filter):
    """Counts the tokens of answers while they stream, per answer and per tenant, and cuts what is too long with an
    ending that clients understand.

    `count` says what a token is while the provider has told nothing: `events` (each piece of text is one) or
    `characters` (so many make one). The provider's own figure (`usage`) takes its place as soon as it comes. A tenant
    has `per_window` tokens, which come back evenly over `window`; who has none left gets 429. Answers that are no
    event stream are charged by their `usage`.
    """

    by_header: str = "x-tenant"             # what names a tenant
    by_label: str = ""                      # in its place: a label that a filter before this one has set
    per_answer: int = 0                     # 0: no limit
    per_window: int = 0                     # 0: no limit
    window: Duration = 60.0
    count: str = "events"
    characters: float = 4.0
    format: str = "openai"
    ending: str = ""                        # events of your own in place of those of `format`
    longest_event: Size = 256 << 10
    tenants: int = 10_000

    def start(self) -> None:
        if self.count not in ("events", "characters") or self.characters <= 0:
            raise ValueError(f"count: {self.count!r}; allowed: events and characters, the latter above 0")
        if self.format not in ENDINGS:
            raise ValueError(f"format: {self.format!r}; allowed: {', '.join(ENDINGS)}")
        if self.per_answer <= 0 and self.per_window <= 0:
            raise ValueError("neither per_answer nor per_window is given: nothing would be limited")
        self.buckets = shared.TokenBuckets(
            f"{self.name}.tokens.{self.tenants}", rate=self.per_window / self.window, burst=self.per_window,
            max_keys=self.tenants) if self.per_window > 0 else None
        self.used = self.metrics.counter("tokens", help="Tokens that answers have used.", labels=("tenant",))
        self.cut = self.metrics.counter("cut", help="Answers that were cut.", labels=("tenant",))

    def tenant_of(self, request: Request) -> str:
        named = request.labels.get(self.by_label) if self.by_label else request.headers.get(self.by_header)
        return (named or "-")[:LONGEST_KEY]

    def on_request(self, request: Request) -> Response | None:
        tenant = self.tenant_of(request)
        request.state[self.name] = tenant
        # Compressed events cannot be read.
        request.headers["accept-encoding"] = "identity"
        wait = 0 if self.buckets is None else self.buckets.take(tenant)
        if wait > 0:
            return Response(429, json={"error": {"type": "token_budget", "message": "no tokens are left for now"}},
                            headers={"retry-after": str(max(1, -int(-wait // 1)))})
        return None

    async def on_response_stream(self, request: Request, response: Response,
                                 chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        tally = Tally(self, request.state.get(self.name, "-"))
        if not response.headers.get("content-type", "").lower().startswith("text/event-stream"):
            whole = b""
            async for chunk in chunks:
                if len(whole) <= self.longest_event:
                    whole += chunk
                yield chunk
            if len(whole) <= self.longest_event:
                tally.take(whole)
            return
        held, looked, after_cr = b"", 0, False
        async for chunk in chunks:
            held += chunk
            # The LF of a CR LF whose CR ended the event before.
            passed = int(after_cr and held.startswith(b"\n"))
            after_cr = after_cr and not held
            while found := EVENT_END.search(held, max(passed, looked)):
                if not tally.take(event_text(held[passed:found.end()])):
                    break
                passed = looked = found.end()
            if passed:
                after_cr = passed == len(held) and held.endswith(b"\r")
                yield held[:passed]
                held = held[passed:]
            if found or len(held) > self.longest_event:
                self.cut.inc(tenant=tally.tenant)
                ending = self.ending or ENDINGS[self.format]
                yield ending.replace("%d", str(tally.tokens)).encode()
                return
            looked = max(0, len(held) - 3)
        if held:
            yield held


class Tally:
    """What one answer has used."""

    def __init__(self, owner: TokenBudget, tenant: str) -> None:
        self.owner = owner
        self.tenant = tenant
        self.tokens = 0
        self.letters = 0

    def take(self, text: bytes) -> bool:
        """Count one event. False when it is more than may be."""
        told, written = read(text)
        if told is not None:
            now = max(told, self.tokens)
        elif self.owner.count == "events":
            now = self.tokens + (written > 0)
        else:
            self.letters += written
            now = max(self.tokens, int(-(-self.letters // self.owner.characters)))
        more = now - self.tokens
        if more <= 0:
            return True
        buckets = self.owner.buckets
        if told is not None:
            # These are used already: what the tenant had not got is owed.
            if buckets is not None:
                buckets.charge(self.tenant, more)
        elif 0 < self.owner.per_answer < now or (buckets is not None and buckets.take(self.tenant, more) > 0):
            return False
        self.tokens = now
        self.owner.used.inc(more, tenant=self.tenant)
        return True


def event_text(event: bytes) -> bytes:
    """What stands behind `data:` in the lines of an event."""
    return b"\n".join(line[5:].removeprefix(b" ") for line in LINE_END.split(event) if line.startswith(b"data:"))


def read(text: bytes) -> tuple[int | None, int]:
    """The provider's figure for the answer, if it is told here, and the number of characters of text."""
    if not text.startswith(b"{"):
        return None, 0
    try:
        told: Any = loads(text)
    except (ValueError, RecursionError):
        return None, 0
    usage = told.get("usage")
    figure = next((usage[name] for name in USED if isinstance(usage.get(name), int)), None) if (
        isinstance(usage, dict)) else None
    written = 0
    choices = told.get("choices")
    deltas = [choice.get("delta") for choice in choices if isinstance(choice, dict)] if (
        isinstance(choices, list)) else [told.get("delta")]
    for delta in deltas:
        if isinstance(delta, dict):
            written += sum(len(delta[name]) for name in ("content", "text", "partial_json", "reasoning_content")
                           if isinstance(delta.get(name), str))
    return figure, written
