"""Any bytes from both sides: see any_bytes.py.

FASTMESH_EXAMPLES=5000 looks further than a test run does; `make fuzz TARGET=proxy` further still.
"""

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from playbook.any_bytes import ANSWERED, ASKED, fuzz_input, run

CORPUS = Path(__file__).parents[1] / "fuzz" / "corpus" / "proxy"
EXAMPLES = int(os.environ.get("FASTMESH_EXAMPLES", "150"))
STEPS = st.one_of(
    st.tuples(st.integers(0, 4), st.integers(0, len(ASKED) - 1)).map(bytes),
    st.tuples(st.just(12), st.integers(0, 7)).map(bytes),
    st.tuples(st.integers(7, 9), st.integers(0, len(ANSWERED) - 1)).map(bytes),
    st.tuples(st.integers(0, 19), st.integers(0, 255)).map(bytes),
    st.binary(min_size=1, max_size=12).map(lambda raw: bytes([5, len(raw) - 1]) + raw),
    st.binary(min_size=1, max_size=12).map(lambda raw: bytes([11, len(raw) - 1]) + raw),
)


@pytest.mark.parametrize("manners", ["ready", "completion"])
def test_any_bytes(manners, spare_descriptor):
    @settings(max_examples=EXAMPLES, deadline=None, derandomize=EXAMPLES <= 150, database=None,
              phases=(Phase.generate, Phase.shrink), suppress_health_check=list(HealthCheck))
    @given(st.lists(STEPS, max_size=40).map(b"".join))
    def look(program):
        run(program, manners)

    look()


def test_what_the_fuzzer_has_found_worth_keeping(spare_descriptor):
    inputs = sorted(CORPUS.iterdir())
    assert inputs
    for path in inputs:
        fuzz_input(path.read_bytes())
