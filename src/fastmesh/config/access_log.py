"""One line per request or TCP connection."""

from typing import Annotated, Any

from pydantic import Field

from fastmesh.config.fields import Choice, Parsed, Section, shown
from fastmesh.config.log_format import DEFAULT_TEMPLATE, ISTIO_FIELDS, check_field, check_template
from fastmesh.errors import WrongValue

MAX_TEMPLATE = 8192


def _log_path(value: object) -> str:
    allowed = "an absolute path, as /dev/stdout or /var/log/fastmesh.log"
    if not isinstance(value, str) or not value.startswith("/") or "\0" in value or len(value) > 4095:
        raise WrongValue(shown(value), allowed)
    return value


def _template(value: object) -> str:
    if not isinstance(value, str) or len(value) > MAX_TEMPLATE:
        raise WrongValue(shown(value), f"a template of at most {MAX_TEMPLATE:,} characters")
    return check_template(value)


def _field(value: object) -> str:
    if not isinstance(value, str) or len(value) > MAX_TEMPLATE:
        raise WrongValue(shown(value), "one operator, as %RESPONSE_CODE%, or text without operators")
    return check_field(value)


def _key(value: Any) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= 128:
        raise WrongValue(shown(value), "a key of 1 to 128 characters")
    return value


class AccessLog(Section):
    """Where and how requests are logged. A reader that is too slow loses lines, which are counted; no request waits.

    Without this section there is no access log.
    """

    path: Annotated[str, Parsed(_log_path, "file", {"type": "string", "pattern": "^/"}), Field(
        description="The file that lines are appended to.")] = "/dev/stdout"
    format: Annotated[str, Choice("json", "text"), Field(
        description="`json` writes one object per line from `fields`, `text` writes `template`.")] = "json"
    fields: Annotated[dict[
        Annotated[str, Parsed(_key, "text", {"type": "string"})],
        Annotated[str, Parsed(_field, "operator", {"type": "string", "examples": ["%RESPONSE_CODE%"]})],
    ] | None, Field(
        description="With `format: json`: the keys of the object, and the operator for each. The keys of Istio's "
                    "log when left out, `labels` where there are filters, and `rate_limited_by` where there are rate "
                    "limits.",
        min_length=1, max_length=128, examples=[{"status": "%RESPONSE_CODE%", "path": "%REQ(:PATH)%"}])] = None
    template: Annotated[str | None, Parsed(
        _template, "template", {"type": "string", "examples": ["%REQ(:METHOD)% %REQ(:PATH)% %RESPONSE_CODE%"]}), Field(
        description="With `format: text`: the line, with Envoy's operators. Envoy's own line when left out.")] = None

    def chosen_fields(self, has_filters: bool, has_limits: bool) -> dict[str, str]:
        """The keys of a JSON line."""
        if self.fields is not None:
            return self.fields
        return {**ISTIO_FIELDS, **({"labels": "%LABELS%"} if has_filters else {}),
                **({"rate_limited_by": "%RATE_LIMITED_BY%"} if has_limits else {})}

    def chosen_template(self) -> str:
        """The template of a text line."""
        return DEFAULT_TEMPLATE if self.template is None else self.template
