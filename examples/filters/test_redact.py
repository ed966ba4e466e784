"""The word is covered, however the body is cut."""

from hypothesis import given
from hypothesis import strategies as st
from redact import Redact

from fastmesh.testing import Kit

TEXT = b"x=1&password=abc&passpassword=&password"


def test_every_way_to_cut_it(filter_kit):
    reply = filter_kit(Redact).every_split(answer=TEXT, method="GET")
    assert reply.body == TEXT.replace(b"password=", b"*" * 9)


@given(st.lists(st.sampled_from([b"ab", b"a", b"aab", b"b", b"c"]), max_size=30))
def test_any_text_in_any_pieces(pieces):
    with Kit(Redact(word="aab")) as kit:
        kit.upstream.answers(200, chunks=pieces)
        assert kit.get("/").body == b"".join(pieces).replace(b"aab", b"***")
