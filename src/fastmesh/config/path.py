"""Request paths in rules: brought to the normal form that requests are matched in.

The same rules as `_core/http/uri` (RFC 3986 section 6.2.2): encoded unreserved characters are
decoded, other escapes are in upper case, runs of "/" are merged, dot segments are removed. What
is not ASCII is percent-encoded, as clients send it.
"""

import re

from fastmesh.errors import WrongValue

ALLOWED = 'a path that begins with "/", without query or fragment'
MAX_PATH = 4096
PATTERN = r"^/[^?#\s]*$"

_ESCAPE = re.compile(rb"%(..?)?", re.DOTALL)
_UNCLEAR = re.compile(r";|%2f|%3b|%5c|%c[01]", re.IGNORECASE)
_SLASHES = re.compile(rb"/{2,}")
_UNRESERVED = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")


def normalize_path(text: str) -> str:
    """The normal form of a path in a rule. Raises WrongValue."""
    if len(text) > MAX_PATH:
        raise WrongValue(f"a path of {len(text):,} characters", f"at most {MAX_PATH:,} characters")
    if not text.startswith("/"):
        raise WrongValue(repr(text), ALLOWED, f"write /{text}" if re.fullmatch(r"[\w.-][\w./-]*", text) else "")
    for mark, name in (("?", "query"), ("#", "fragment")):
        if mark in text:
            raise WrongValue(repr(text), ALLOWED,
                             f"rules see the path only: leave out the {name}, or write "
                             f"%{ord(mark):02X} for the character itself")
    if re.search(r"/\*+$", text):
        raise WrongValue(repr(text), "a path without wildcards",
                         f"a prefix matches what is below it: write {text.rstrip('*') or '/'}")
    if "\\" in text:
        raise WrongValue(repr(text), 'a path without "\\"', "servers disagree about it; write /")
    if unclear := _UNCLEAR.search(text):
        raise WrongValue(repr(text), f"a path without {unclear[0]}",
                         "servers disagree about it, so a request that only one reading of leads here is refused; "
                         "write the rule for what stands before it")
    raw = text.encode("utf-8", "surrogatepass")
    if any(byte <= 32 or byte == 127 for byte in raw):
        raise WrongValue(repr(text), "a path without spaces and control characters",
                         "percent-encode them: a space is %20")
    if not raw.isascii():
        raw = b"".join(b"%%%02X" % byte if byte >= 128 else bytes((byte,)) for byte in raw)
    if b"%" in raw:
        raw = _ESCAPE.sub(lambda match: _unescape(match, text), raw)
    return _remove_dots(_SLASHES.sub(b"/", raw)).decode("ascii")


def _unescape(match: "re.Match[bytes]", text: str) -> bytes:
    digits = match[1] or b""
    try:
        if len(digits) != 2 or not digits.isalnum():
            raise ValueError
        byte = int(digits, 16)
    except ValueError:
        raise WrongValue(repr(text), "escapes of % and two hexadecimal digits",
                         "write %25 for the character % itself") from None
    if byte == 0:
        raise WrongValue(repr(text), "a path without %00", "such requests are refused before rules are asked")
    return bytes((byte,)) if byte in _UNRESERVED else b"%" + digits.upper()


def _remove_dots(raw: bytes) -> bytes:
    """RFC 3986 section 5.2.4, on a path that begins with "/" and has no empty segments."""
    if b"/." not in raw:
        return raw
    segments = raw.split(b"/")[1:]
    kept: list[bytes] = []
    for segment in segments:
        if segment == b"..":
            if kept:
                kept.pop()
        elif segment != b".":
            kept.append(segment)
    # A dot segment at the end stands for the directory: /a/.. is "/", /a/b/. is "/a/b/".
    if segments[-1] in (b".", b"..") and kept:
        kept.append(b"")
    return b"/" + b"/".join(kept)
