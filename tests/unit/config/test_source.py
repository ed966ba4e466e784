import os
import stat
from pathlib import Path

import pytest

from fastmesh.config.load import load
from fastmesh.config.source import Source, read_source
from fastmesh.errors import ConfigError


def refusal(path: Path | str) -> str:
    with pytest.raises(ConfigError) as caught:
        load(str(path), {})
    (problem,) = caught.value.problems
    return str(problem).removeprefix(problem.file)


@pytest.mark.parametrize(("raw", "message"), [
    (b"", ": the file is empty, allowed: a configuration with at least a listener"),
    (b" \n\t\n", ": the file is empty, allowed: a configuration with at least a listener"),
    (b"# only\n# comments\n", ": the file is empty, allowed: a configuration with at least a listener"),
    (b"---\n", ": the file is empty, allowed: a configuration with at least a listener"),
    (b"a: \xff\n", ":1:4: found the byte 0xff, which is not UTF-8, allowed: UTF-8 text"),
    (b"a: 1\n\xc3\xa9: \x80", ":2:4: found the byte 0x80, which is not UTF-8, allowed: UTF-8 text"),
    (b"a: 1\nb: \0", ":2:4: found a NUL byte, allowed: UTF-8 text"),
    (b"\x7fELF\x02\0\0\xff", ":1:6: found a NUL byte, allowed: UTF-8 text"),
    (b"\xff\xfea\0:\0", ":1:1: the file is in UTF-16, allowed: UTF-8 text"),
    (b"a: \x01\n", ":1:4: found the character U+0001, allowed: printable text"),
    ("é: \x07".encode(), ":1:4: found the character U+0007, allowed: printable text"),
    (b"#" * ((16 << 20) + 1), ": the file is larger than 16 MiB, allowed: at most 16 MiB of YAML"),
])
def test_files_that_are_no_configuration(tmp_path, raw, message):
    path = tmp_path / "mesh.yaml"
    path.write_bytes(raw)
    assert refusal(path) == message


def test_files_that_cannot_be_read(tmp_path):
    assert refusal(tmp_path / "none.yaml") == ": the file does not exist"
    assert refusal(tmp_path) == ": this is a directory"
    (tmp_path / "file").write_text("x")
    assert refusal(tmp_path / "file" / "below") == ": a part of the path is not a directory"
    assert refusal("a" * 5000) == ": the path is too long"
    assert refusal("/dev/zero") == ": this is not a regular file"
    os.mkfifo(tmp_path / "fifo")
    assert refusal(tmp_path / "fifo") == ": this is not a regular file"     # and does not wait for a writer
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    assert refusal(tmp_path / "loop") == ": the path has too many symbolic links"
    with pytest.raises(ConfigError) as caught:
        load("a\0b", {})
    assert str(caught.value) == "a\\0b: the path holds a NUL character"


def test_a_file_without_permission(tmp_path, monkeypatch):
    path = tmp_path / "mesh.yaml"
    path.write_text("listeners: []\n")
    path.chmod(0)
    if os.access(path, os.R_OK):    # root reads everything: pretend

        def refuse(*args: object) -> int:
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr(os, "open", refuse)
    assert refusal(path) == ": the file cannot be read: permission denied"


def test_a_file_that_changes_while_it_is_read(tmp_path, monkeypatch):
    path = tmp_path / "mesh.yaml"
    path.write_text("listeners: []\n")
    states = iter(range(10))
    real = os.fstat

    def changing(fd: int) -> object:
        found = real(fd)
        fake = type("Stat", (), {"st_mode": found.st_mode, "st_size": found.st_size, "st_mtime_ns": next(states)})
        assert stat.S_ISREG(found.st_mode)
        return fake

    monkeypatch.setattr("fastmesh.config.source.os.fstat", changing)
    assert refusal(path) == ": the file changed while it was read"


def test_a_byte_order_mark_is_no_character(tmp_path):
    path = tmp_path / "mesh.yaml"
    path.write_bytes(b"\xef\xbb\xbfadmin: {x: 1}\nlisteners: []\n")
    assert refusal(path) == ":1:9: admin: unknown key 'x', allowed: address"


def test_positions_are_those_of_editors():
    # YAML 1.1 breaks lines at U+2028 and U+0085 too; editors do not.
    source = Source("x", "é\u2028\x85a\r\nb😀c\n")
    assert source.position(source.text.index("a")) == (1, 4)
    assert source.position(source.text.index("c")) == (2, 3)
    assert source.excerpt(0) == ("é\u2028\x85a", 0)
    assert source.excerpt(source.text.index("c")) == ("b😀c", 2)


def test_a_regular_file_is_read_whole(tmp_path):
    path = tmp_path / "mesh.yaml"
    path.write_text("a" * 3_000_000)
    assert len(read_source(str(path)).text) == 3_000_000
