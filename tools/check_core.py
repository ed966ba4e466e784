"""Fail on what CONTRIBUTING.md forbids in the compiled core and a compiler does not see."""

import re
import sys
from collections import defaultdict
from pathlib import Path

CORE = Path("src/fastmesh/_core")
LINES = 800
GIL_FLOORS = ("filter/", "hosted/", "play/")              # hold Python objects, and are entered with the GIL
NOGIL_DOORS = {"worker.pyx", "explain.pyx", "watch.pyx"}     # may say `with nogil`, and speak Python
FORBIDDEN = {"ctx", "data", "info", "manager", "handler", "util", "utils", "helper", "helpers", "common", "misc"}

# What follows the parameters of a signature, up to `nogil`. A nogil function that may "raise" takes the GIL to look.
SIGNATURE = re.compile(r"\)([ \t]*(?:(?:noexcept|except\??|[-+?*\w])[ \t]*)*)\bnogil\b")
# A function of the data plane that says neither. One that returns a Python object is none: it holds the GIL.
SILENT = re.compile(r"^cdef (?!class|extern|enum|struct|(?:inline )?(?:object|bytes|str|tuple|list|dict) )"
                    r"[^=\n(]*\w\((?:[^()]|\([^()]*\))*\)[ \t]*(?::|$)", re.M)
ALLOCATES = re.compile(r"\b(?:malloc|calloc|realloc|free|aligned_alloc|posix_memalign)\s*\(")
STRUCT = re.compile(r"\bstruct\s+(\w+)")
EXTERN = re.compile(r"^cdef extern from.*:\n(?:[ \t]+.*\n|\n)*", re.M)     # C never raises
OLD = re.compile(r"^\s*(?:include\s+[\"']|DEF\s|IF\s.*:|.*cimport\s+\*|from\s+\.+\w*\s+cimport)", re.M)

bad: list[str] = []
stems: dict[str, set[str]] = defaultdict(set)
for path in sorted(p for p in CORE.rglob("*") if p.suffix in {".pyx", ".pxd"} and p.stem != "__init__"):
    name = path.relative_to(CORE).as_posix()
    text = path.read_text()
    code = re.sub(r"#.*|\"\"\"(?:.|\n)*?\"\"\"", lambda m: re.sub(r"[^\n]", " ", m[0]), text)
    code = EXTERN.sub(lambda m: re.sub(r"[^\n]", " ", m[0]), code)

    def say(position: int, message: str, name: str = name, code: str = code) -> None:
        bad.append(f"{CORE}/{name}:{code.count(chr(10), 0, position) + 1}: {message}")

    stems[path.stem].add(path.parent.as_posix())
    if (n := text.count("\n")) > LINES:
        bad.append(f"{path}: {n} lines, more than {LINES}: which noun with its own struct can leave?")
    for m in SIGNATURE.finditer(code):
        if "except" not in m[1]:
            say(m.start(), "nogil without noexcept (a return of -1 would take the GIL)")
    if name not in NOGIL_DOORS and not name.startswith(GIL_FLOORS):
        for m in SILENT.finditer(code):
            say(m.start(), "a cdef function of the data plane is `noexcept nogil`")
    if not name.startswith("mem/"):
        for m in ALLOCATES.finditer(code):
            say(m.start(), "memory is taken and given back in mem/ only")
    if name not in NOGIL_DOORS and not name.startswith(GIL_FLOORS):
        for m in re.finditer(r"\bwith (?:no)?gil\b", code):
            say(m.start(), f"`{m[0]}` belongs in {', '.join((*sorted(NOGIL_DOORS), *GIL_FLOORS))}")
    for m in OLD.finditer(code):
        say(m.start(), "no include, DEF, IF, `cimport *` or relative cimport")
    for word in [path.stem, *STRUCT.findall(code)]:
        if FORBIDDEN & set(word.lower().removesuffix("_t").split("_")):
            bad.append(f"{path}: {word!r} says nothing; name what it is")
bad += [f"{stem}: one base name in {', '.join(sorted(where))}; PyInit_{stem} must be unique"
        for stem, where in stems.items() if len(where) > 1]
print(*bad or ["core: ok"], sep="\n")
sys.exit(bool(bad))
