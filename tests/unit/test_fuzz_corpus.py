"""Every input that the fuzzer's corpus keeps, in the ordinary build: what must hold whatever comes in."""

from pathlib import Path

import pytest

from probes import fuzz_targets

CORPUS = Path(__file__).parents[1] / "fuzz" / "corpus"


@pytest.mark.parametrize("target", fuzz_targets.TARGETS)
def test_kept_inputs_hold(target: str) -> None:
    inputs = sorted((CORPUS / target).iterdir())
    assert inputs, f"the corpus of {target} is empty"
    broken = {path.name: why for path in inputs if (why := fuzz_targets.run(target, path.read_bytes()))}
    assert not broken


def test_what_does_not_hold_is_said() -> None:
    """The targets' own door: an unknown one is an error, not a pass."""
    with pytest.raises(KeyError):
        fuzz_targets.run("nothing", b"")
