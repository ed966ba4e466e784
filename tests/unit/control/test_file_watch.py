"""Whether a file has changed, however it was changed."""

import os
from pathlib import Path

from fastmesh.control.file_watch import FileWatch


def test_changes(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    one.write_text("a")
    files = [str(one)]
    watch = FileWatch(lambda: files)
    watch.learn()
    assert not watch.has_changed()
    one.write_text("longer")
    assert watch.has_changed() and not watch.has_changed()
    # Another file in its place, of the same length and time.
    old = one.stat()
    two.write_text("LONGER")
    os.utime(two, ns=(old.st_atime_ns, old.st_mtime_ns))
    two.rename(one)
    assert watch.has_changed() and not watch.has_changed()
    # One that is new here is learned; what comes then is a change.
    files.append(str(two))
    watch.learn()
    assert not watch.has_changed()
    two.write_text("it comes later")
    assert watch.has_changed()
    one.unlink()
    assert watch.has_changed() and not watch.has_changed()


def test_learning_forgets_no_change(tmp_path: Path) -> None:
    one = tmp_path / "one"
    one.write_text("a")
    watch = FileWatch(lambda: [str(one)])
    watch.learn()
    one.write_text("longer")
    watch.learn()
    assert watch.has_changed()
