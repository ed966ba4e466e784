"""problem-details: the form that the request accepts, and nothing of the mesh's inside."""

import pytest

from fastmesh.filters.builtin.problem_details import HTML, JSON, TEXT, ProblemDetails, chosen
from fastmesh.testing import Kit

BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"


@pytest.mark.parametrize(("accept", "default", "form"), [
    ("", JSON, JSON), ("", HTML, HTML), ("*/*", TEXT, TEXT), (BROWSER, JSON, HTML), ("application/json", HTML, JSON),
    ("application/*", HTML, JSON), ("text/*", JSON, TEXT), ("text/*", HTML, HTML), ("image/png", JSON, JSON),
    ("text/html;q=0.5, text/plain", JSON, TEXT), ("text/html;q=0, */*;q=0.1", JSON, JSON),
    ("application/problem+json;q=0.9, text/html;q=0.9", HTML, HTML), ("TEXT/HTML ; level=1 ; Q=1", JSON, HTML),
    ("text/html;q=x", JSON, JSON), ("text/html;q=nan", JSON, JSON), (",;,;q=;", JSON, JSON),
    (",".join(["image/png"] * 40 + ["text/html"]), JSON, JSON), ("application/vnd.api+json, text/plain", JSON, TEXT)])
def test_the_form(accept: str, default: str, form: str) -> None:
    assert chosen(accept, default) == form


def test_what_each_form_says() -> None:
    with Kit().fall_back(ProblemDetails(type="https://x.test/p", detail="later <b>", retry_after=5)) as kit:
        kit.upstream.fails("reset")
        reply = kit.get("/")
        assert (reply.status, reply.headers["content-type"]) == (503, "application/problem+json")
        told = reply.json()
        assert told.pop("request_id")
        assert told == {"type": "https://x.test/p", "title": "Service Unavailable", "status": 503,
                        "detail": "later <b>"}
        assert (reply.headers["retry-after"], reply.headers["vary"]) == ("5", "accept")
        reply = kit.get("/", headers={"accept": BROWSER})
        assert reply.headers["content-type"] == "text/html; charset=utf-8"
        assert "<h1>Service Unavailable</h1>" in reply.text and "later &lt;b&gt;" in reply.text
        reply = kit.get("/", headers=[("accept", "image/png"), ("accept", "text/plain")])
        assert reply.text.startswith("Service Unavailable\nlater <b>\nrequest ")
        assert "reset" not in reply.text and "upstream" not in reply.text
        kit.upstream.answers(504)
        assert kit.get("/").json()["title"] == "Gateway Timeout"


def test_without_the_id_and_of_a_status_without_a_name() -> None:
    with Kit().fall_back(ProblemDetails(with_id=False), on=[599]) as kit:
        kit.upstream.answers(599)
        reply = kit.get("/")
        assert reply.json() == {"type": "about:blank", "title": "Error", "status": 599,
                                "detail": ProblemDetails.detail}
        assert "retry-after" not in reply.headers


@pytest.mark.parametrize(("settings", "said"), [
    ({"default": "xml"}, "json, html and text"), ({"retry_after": -1}, "0 to 86400")])
def test_wrong_settings(settings: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Kit().fall_back(ProblemDetails(**settings))
