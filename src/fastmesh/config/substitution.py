"""`${NAME}` and `${NAME:-default}` in the values of a configuration file.

Substitution happens in values that YAML has already parsed: what a variable holds is always one
value, never more YAML, so the environment cannot inject keys. Keys are not substituted.
`$${` stands for the two characters `${`.
"""

import re
from collections.abc import Mapping

_REFERENCE = re.compile(r"\$\$\{|\$\{([^}]*)(\}?)")
_NAME = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)(?:(:-)(.*))?", re.DOTALL)


class BadReference(ValueError):
    """A reference that cannot be replaced. `offset` and `length` are within the value."""

    def __init__(self, reason: str, allowed: str, hint: str, offset: int, length: int) -> None:
        super().__init__(reason)
        self.reason = reason
        self.allowed = allowed
        self.hint = hint
        self.offset = offset
        self.length = length


def substitute(text: str, env: Mapping[str, str]) -> str:
    """`text` with its references replaced from `env`. Raises BadReference."""

    def replace(match: re.Match[str]) -> str:
        whole = match[0]
        if whole == "$${":
            return "${"
        where = (match.start(), len(whole))
        if not match[2]:
            raise BadReference(f"found {whole!r} without its closing brace", "${NAME} or ${NAME:-default}",
                               "write $${ for the characters ${ themselves", *where)
        parts = _NAME.fullmatch(match[1])
        if not parts:
            raise BadReference(f"found {whole!r}", "${NAME} or ${NAME:-default}",
                               "a name holds letters, digits and _, and does not begin with a digit; "
                               "write $${ for the characters ${ themselves", *where)
        name, has_default, default = parts[1], parts[2], parts[3]
        value = env.get(name)
        if has_default:
            if "${" in default:
                raise BadReference(f"found {whole!r}", "a default without references",
                                   "references cannot be nested", *where)
            value = value or default    # as in a shell, `:-` replaces an empty value too
        if value is None:
            raise BadReference(f"the environment variable {name} is not set", "",
                               f"set it, or give a default: ${{{name}:-value}}", *where)
        if not value.isprintable() and any("\ud800" <= character <= "\udfff" for character in value):
            # What the system hands over as bytes that are no text.
            raise BadReference(f"the environment variable {name} is not UTF-8", "", "set it to UTF-8 text", *where)
        return value

    return _REFERENCE.sub(replace, text)
