"""A seed for the fuzzer of snapshots: what a worker would be sent for a configuration.

    PYTHONPATH=tests .venv/bin/python -m fuzz.seed mesh.yaml >tests/fuzz/corpus/snapshot/NAME

Keep it small: eight endpoints at most, and the fuzzer cuts inputs at 8 KiB. It is made once, for a part of the format;
where the format changes after that, all seeds are changed along with it, those made by hand too.
"""

import sys

from fastmesh.snapshot.process import answer


def seed_of(file: str) -> bytes:
    """Raises ValueError, with all that is wrong with the file."""
    found = answer({"file": file, "registry": None, "env": {}, "version": 1})
    if not found["ok"]:
        raise ValueError(found["text"])
    snapshot: bytes = found["snapshot"]
    return snapshot


if __name__ == "__main__":
    sys.stdout.buffer.write(seed_of(sys.argv[1]))
