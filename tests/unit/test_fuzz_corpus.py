"""Every input that the fuzzer's corpus keeps, in the ordinary build: what must hold whatever comes in."""

from pathlib import Path

import pytest
from fuzz.seed import seed_of

from probes import fuzz_targets

CORPUS = Path(__file__).parents[1] / "fuzz" / "corpus"


@pytest.mark.parametrize("target", fuzz_targets.TARGETS)
def test_kept_inputs_hold(target: str) -> None:
    inputs = sorted((CORPUS / target).iterdir())
    assert inputs, f"the corpus of {target} is empty"
    broken = {path.name: why for path in inputs if (why := fuzz_targets.run(target, path.read_bytes()))}
    assert not broken


def test_snapshots_are_of_this_format() -> None:
    """What is refused at its first item leads a fuzzer nowhere."""
    refused = {path.name: why for path in sorted((CORPUS / "snapshot").iterdir())
               if (why := fuzz_targets.refusal(path.read_bytes()))}
    assert not refused


def test_a_seed_is_made_of_a_configuration(tmp_path: Path) -> None:
    file = tmp_path / "mesh.yaml"
    file.write_text("listeners:\n- {name: web, address: '127.0.0.1:80', routes: [{match: {prefix: /}, cluster: a}]}\n"
                    "clusters:\n- {name: a, endpoints: ['127.0.0.1:90']}\n")
    assert fuzz_targets.refusal(seed_of(str(file))) is None
    with pytest.raises(ValueError, match="the file does not exist"):
        seed_of(str(tmp_path / "no.yaml"))


def test_what_does_not_hold_is_said() -> None:
    """The targets' own door: an unknown one is an error, not a pass."""
    with pytest.raises(KeyError):
        fuzz_targets.run("nothing", b"")
