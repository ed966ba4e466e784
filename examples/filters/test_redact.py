"""The word is covered, however the body is cut."""

from filtering import make, run
from hypothesis import given
from hypothesis import strategies as st
from redact import Redact

from fastmesh import Response

TEXT = b"x=1&password=abc&passpassword=&password"


def redacted(redact, pieces):
    return run(redact, answer=Response(200, content_type="text/plain"), chunks=list(pieces)).body


def test_every_way_to_cut_it():
    redact = make(Redact)
    covered = TEXT.replace(b"password=", b"*" * 9)
    for first in range(len(TEXT) + 1):
        assert redacted(redact, (TEXT[:first], TEXT[first:])) == covered, first
    assert redacted(redact, (bytes((letter,)) for letter in TEXT)) == covered


@given(st.lists(st.sampled_from([b"ab", b"a", b"aab", b"b", b"c"]), max_size=30))
def test_any_text_in_any_pieces(pieces):
    assert redacted(make(Redact, word="aab"), pieces) == b"".join(pieces).replace(b"aab", b"***")
