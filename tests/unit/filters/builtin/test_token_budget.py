"""Answers of language models end cleanly when their tokens are used up."""

import json

import pytest
from filtering import Stand, framed, make, run

from fastmesh import Response
from fastmesh.filters.builtin.token_budget import ENDINGS, TokenBudget, read

DONE = b"data: [DONE]\n\n"


def event(text, newline=b"\n", **more):
    told = {"choices": [{"index": 0, "delta": {"content": text}}], **more}
    return b"data: " + json.dumps(told).encode() + newline * 2


def usage(tokens):
    return b"data: " + json.dumps({"choices": [], "usage": {"completion_tokens": tokens}}).encode() + b"\n\n"


def answered(budget, body, size=0, tenant="a", content_type="text/event-stream"):
    size = size or max(1, len(body))
    return run(budget, headers={"x-tenant": tenant}, answer=Response(200, content_type=content_type, body=b""),
               chunks=[body[at:at + size] for at in range(0, len(body), size)])


WORDS = b"".join(event(f"w{n}") for n in range(5)) + DONE


@pytest.mark.parametrize("size", [0, 1, 2, 3, 10, 64, 1000])
def test_an_answer_within_its_budget_is_left_as_it_is(size):
    assert answered(make(TokenBudget, per_answer=5), WORDS, size).body == WORDS


@pytest.mark.parametrize("newline", [b"\n", b"\r\n", b"\r"])
@pytest.mark.parametrize("size", [0, 1, 2, 3, 10, 64, 1000])
def test_what_is_too_long_is_cut_after_an_event(size, newline):
    body = b"".join(event(f"w{n}", newline) for n in range(9))
    got = answered(make(TokenBudget, per_answer=3), body, size)
    assert got.body == b"".join(event(f"w{n}", newline) for n in range(3)) + ENDINGS["openai"].encode()
    assert got.body.endswith(DONE)


def test_the_client_has_its_end_at_once_and_the_model_stops():
    with Stand(make(TokenBudget, per_answer=2)).open() as stand:
        client = stand.asks()
        up = stand.play.connect()
        up.sends(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
        for n in range(3):
            assert not up.is_closed
            up.sends(framed(event(f"w{n}")))
        assert client.expect_answer(200).body.endswith(DONE)
        assert up.is_closed and not client.is_closed


def test_the_endings_are_events_that_can_be_read():
    for name, ending in ENDINGS.items():
        text = ending % 7 if "%d" in ending else ending
        assert text.endswith("\n\n")
        for block in text.strip().split("\n\n"):
            told = block.partition("data: ")[2]
            assert told == "[DONE]" or json.loads(told), name


def test_anthropics_form():
    told = json.dumps({"type": "content_block_delta", "delta": {"type": "text_delta", "text": "hi"}}).encode()
    body = (b"event: content_block_delta\ndata: " + told + b"\n\n") * 4
    got = answered(make(TokenBudget, per_answer=2, format="anthropic"), body)
    assert got.body.count(b"content_block_delta\n") == 2 and b'"output_tokens":2' in got.body
    assert got.body.endswith(b'data: {"type":"message_stop"}\n\n')


def test_an_ending_of_ones_own():
    got = answered(make(TokenBudget, per_answer=1, ending="data: over after %d\n\n"), WORDS)
    assert got.body == event("w0") + b"data: over after 1\n\n"


def test_characters():
    budget = make(TokenBudget, per_answer=4, count="characters", characters=2.0)
    got = answered(budget, event("abcd") + event("efgh") + event("i"))
    assert got.body == event("abcd") + event("efgh") + ENDINGS["openai"].encode()


def test_a_tenants_tokens_are_shared_by_its_answers():
    budget = make(TokenBudget, per_window=8, window=3600.0)
    assert answered(budget, WORDS).body == WORDS                         # 1 to begin and 5
    got = answered(budget, WORDS)                                        # 1 to begin, and 1 is left
    assert got.body == event("w0") + ENDINGS["openai"].encode()
    assert answered(budget, WORDS, tenant="b").body == WORDS
    got = answered(budget, WORDS)
    assert got.status == 429 and not got.upstream and int(got.headers["retry-after"]) >= 1


def test_the_providers_own_figure_counts():
    budget = make(TokenBudget, per_window=100, window=3600.0)
    assert answered(budget, event("w") + usage(150) + DONE).body.endswith(DONE)     # used already: nothing to cut
    assert budget.used.labels(tenant="a").value == 150
    assert answered(budget, WORDS).status == 429


def test_answers_that_do_not_stream_are_charged():
    budget = make(TokenBudget, per_window=100, window=3600.0)
    body = json.dumps({"usage": {"input_tokens": 3, "output_tokens": 120}}).encode()
    assert answered(budget, body, 7, content_type="application/json").body == body
    assert budget.used.labels(tenant="a").value == 120 and answered(budget, body).status == 429


def test_an_event_without_end_cannot_be_counted():
    got = answered(make(TokenBudget, per_answer=5, longest_event=1000), event("w") + b"data: " + b"x" * 5000, 100)
    assert got.body == event("w") + ENDINGS["openai"].encode()


def test_what_is_left_of_an_event_at_the_end_is_passed_on():
    assert answered(make(TokenBudget, per_answer=5), event("w") + b"data: half", 3).body == event("w") + b"data: half"


def test_the_upstream_is_asked_for_events_that_can_be_read():
    got = run(make(TokenBudget, per_answer=5), headers={"accept-encoding": "gzip"})
    assert got.request.headers["accept-encoding"] == "identity"


@pytest.mark.parametrize("text", [
    b"[DONE]", b"", b"{", b'{"choices": 3}', b'{"choices": [3]}', b'{"choices": [{"delta": 3}]}', b'{"usage": 3}',
    b'{"usage": {"completion_tokens": "x"}}', b'{"delta": {"text": 3}}', b'{"a":' * 5000, b"[1]", b'{"usage": null}'])
def test_events_that_say_nothing(text):
    assert read(text) == (None, 0)


@pytest.mark.parametrize("settings", [
    {}, {"per_answer": 1, "count": "words"}, {"per_answer": 1, "format": "other"},
    {"per_answer": 1, "count": "characters", "characters": 0.0}])
def test_what_limits_nothing(settings):
    with pytest.raises(ValueError):
        make(TokenBudget, **settings)
