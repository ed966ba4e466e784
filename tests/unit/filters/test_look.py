"""A configuration without filters pays nothing for them."""

import subprocess
import sys

import pytest

from fastmesh.config.load import load_text
from fastmesh.errors import ConfigError
from fastmesh.filters.look import look_at_filters

CODE = """\
import sys
from fastmesh.control.compile_process import rehearse
rehearse()
print(*sorted(name for name in sys.modules if name.startswith("fastmesh.filters.")))
"""


def test_control_does_not_load_what_looks_at_classes():
    out = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True).stdout.split()
    assert out == ["fastmesh.filters.endpoint_set", "fastmesh.filters.look"]


@pytest.mark.parametrize("text", [
    "listeners: []\n", "listeners: []\nfilters: []\n", "[]", "listeners: {filters: [a]}\n"])
def test_without_filters_nobody_looks(text):
    try:
        assert load_text(text, look=look_at_filters).filters is None
    except ConfigError as error:
        assert "filter" not in str(error)


@pytest.mark.parametrize("text", [
    "listeners: []\nfilters: [{name: a, use: './nowhere.py:A'}]\n",
    'listeners: []\n"fi\\u006cters": [{name: a, use: "./nowhere.py:A"}]\n',
    "listeners: [{name: l, address: '127.0.0.1:1', routes: [{match: {}, response: {status: 200}, "
    "filters: [{use: './nowhere.py:A'}]}]}]\n",
    "listeners: []\nclusters: [{name: c, endpoints: {use: './nowhere.py:A'}}]\n"])
def test_with_filters_somebody_does(text):
    with pytest.raises(ConfigError, match=r"nowhere\.py cannot be read"):
        load_text(text, look=look_at_filters)
