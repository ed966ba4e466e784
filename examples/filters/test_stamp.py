"""One header in, one header less out."""

from filtering import make, run
from stamp import Stamp

from fastmesh import Response


def test_the_upstream_learns_the_edge_unless_there_is_one_already():
    assert run(make(Stamp, edge="eu-1")).request.headers["x-edge"] == "eu-1"
    assert run(make(Stamp), headers={"x-edge": "us-2"}).request.headers["x-edge"] == "us-2"


def test_the_client_does_not_learn_the_server():
    got = run(make(Stamp), answer=Response(200, text="hi", headers={"server": "secret/1.0"}))
    assert got.body == b"hi" and "server" not in got.headers
