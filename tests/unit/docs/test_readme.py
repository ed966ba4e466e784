"""What README.md shows of commands and files is what they print and hold."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
README = (ROOT / "README.md").read_text()
CONSOLE = re.findall(r"^\$ (.*)\n((?:(?!\$ |```).*\n)*)", README, re.M)


def test_the_first_configuration_is_the_example():
    shown = re.search(r"\[examples/config/first.yaml\].*?```yaml\n(.*?)```", README, re.S)
    assert shown is not None
    text = (ROOT / "examples" / "config" / "first.yaml").read_text()
    assert "".join(line for line in text.splitlines(keepends=True) if not line.startswith("#")) == shown[1]


@pytest.mark.parametrize(("command", "shown"), [pair for pair in CONSOLE if "fastmesh check" in pair[0]])
def test_what_check_prints(command, shown):
    here = command.replace(".venv/bin/fastmesh", f"'{sys.executable}' -m fastmesh")
    done = subprocess.run(["bash", "-c", here], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          check=False, timeout=60)
    assert done.stdout == shown


def test_commands_are_shown():
    assert sum("fastmesh check" in command for command, _ in CONSOLE) == 2
    assert any("fastmesh run" in command for command, _ in CONSOLE)


@pytest.mark.parametrize("target", sorted(set(re.findall(r"\bmake ([a-z]+)\b", README))))
def test_targets_exist(target):
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.M)


@pytest.mark.parametrize("example", ["filters/require_tenant.py", "config/filters.yaml"])
def test_what_is_shown_is_the_example(example):
    lines = (ROOT / "examples" / example).read_text().splitlines()
    shown = [block.splitlines() for block in re.findall(r"^```(?:python|yaml)\n(.*?)^```", README, re.M | re.S)]
    # All of it but what introduces it.
    assert any(lines[-len(block):] == block for block in shown)
