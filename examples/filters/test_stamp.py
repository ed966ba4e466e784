"""One header in, one header less out."""

from stamp import Stamp


def test_the_upstream_learns_the_edge_unless_there_is_one_already(filter_kit):
    kit = filter_kit(Stamp(edge="eu-1"))
    assert kit.get("/").upstream.headers["x-edge"] == "eu-1"
    assert kit.get("/", headers={"x-edge": "us-2"}).upstream.headers["x-edge"] == "us-2"


def test_the_client_does_not_learn_the_server(filter_kit):
    kit = filter_kit(Stamp)
    kit.upstream.answers(200, body="hi", headers={"server": "secret/1.0"})
    reply = kit.get("/")
    assert reply.text == "hi" and "secret" not in reply.headers.get("server", "")


def test_it_costs_little(filter_kit):
    assert filter_kit(Stamp).get("/").costs_less_than("100us")
