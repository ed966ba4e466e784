import subprocess
import sys
from pathlib import Path

from fastmesh.config.describe import places
from fastmesh.config.report import anchor


def test_the_document_is_current():
    run = subprocess.run([sys.executable, "tools/gen_config_docs.py", "--check"], capture_output=True, text=True,
                         check=False)
    assert run.returncode == 0, run.stderr


def test_the_anchors_that_messages_name_exist():
    text = Path("docs/configuration.md").read_text()
    for place in places():
        steps = tuple(step for part in place.path.split(".") if part
                      for step in ((part[:-2], 0) if part.endswith("[]") else (part.removesuffix("{}"),)))
        for key in place.section.model_fields:
            assert f'<a id="{anchor((*steps, key)).replace(".", "-")}"></a>' in text


def test_the_first_configuration_of_the_help_is_good():
    from fastmesh.cli import main
    from fastmesh.config.load import load_text
    help_text = main.parser().format_help()
    start = help_text.index("  listeners:")
    example = help_text[start:help_text.index("\nexit codes")]
    assert load_text(example, "help", {}).warnings == []
