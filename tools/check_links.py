"""Fail on links between the documents that lead nowhere: files and headings. Addresses on the net are not asked."""

import re
import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote

LINK = re.compile(r"\[[^\]\n]*\]\(([^)\s]+)\)")
FENCE = re.compile(r"^```.*?^```", re.M | re.S)


def anchors(path: Path) -> set[str]:
    """The fragment names that a reader on GitHub can use in this document."""
    found: dict[str, int] = {}
    names = set(re.findall(r"<a (?:name|id)=\"([^\"]+)\"", path.read_text()))
    for heading in re.findall(r"^#{1,6}\s+(.*?)\s*#*$", FENCE.sub("", path.read_text()), re.M):
        text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        slug = re.sub(r"[^\w\- ]", "", text.replace("`", "").lower()).replace(" ", "-")
        n = found[slug] = found.get(slug, -1) + 1
        names.add(f"{slug}-{n}" if n else slug)
    return names


bad: list[str] = []
listed = subprocess.run(["git", "ls-files", "*.md"], capture_output=True, text=True, check=True).stdout.split()
for name in listed:
    path = Path(name)
    text = FENCE.sub(lambda m: "\n" * m[0].count("\n"), path.read_text()) if path.exists() else ""
    for m in LINK.finditer(text):
        target, _, fragment = unquote(m[1]).partition("#")
        if re.match(r"[a-z]+:", target):
            continue
        there = (path.parent / target) if target else path
        where = f"{name}:{text.count(chr(10), 0, m.start()) + 1}"
        if not there.exists():
            bad.append(f"{where}: {m[1]}: no such file")
        elif fragment and there.suffix == ".md" and fragment not in anchors(there):
            bad.append(f"{where}: {m[1]}: no such heading")
print(*bad or ["links: ok"], sep="\n")
sys.exit(bool(bad))
