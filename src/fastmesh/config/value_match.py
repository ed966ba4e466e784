"""What a header, a query parameter or a cookie must say."""

from typing import Annotated, Any

from pydantic import Field, model_serializer, model_validator
from pydantic_core.core_schema import SerializerFunctionWrapHandler

from fastmesh.config.fields import Flag, HeaderValue, Integer, Parsed, Section, shown
from fastmesh.config.regex import MAX_TEXT, compile_regex
from fastmesh.errors import WrongValue


def _regex(value: object) -> str:
    if not isinstance(value, str):
        raise WrongValue(shown(value), "a regular expression")
    return compile_regex(value).text


RegexText = Annotated[str, Parsed(_regex, "regular expression", {"type": "string", "minLength": 1,
                                                                 "maxLength": MAX_TEXT})]


def _part(value: object) -> str:
    allowed = "text of 1 to 8,192 characters without control characters"
    if not isinstance(value, str) or not 1 <= len(value) <= 8192 or not value.isprintable():
        raise WrongValue(shown(value), allowed)
    return value


Part = Annotated[str, Parsed(_part, "text", {"type": ["string", "number", "boolean"]})]


class ValueMatch(Section):
    """What a value must be: a text alone, as `x-canary: "1"`, is `exact`. One of the keys, or `min` and `max`; any of
    them with `invert`. Texts are compared with their case."""

    exact: Annotated[HeaderValue | None, Field(
        description="Exactly this value.", examples=["1"])] = None
    prefix: Annotated[Part | None, Field(description="What it begins with.", examples=["Bearer "])] = None
    suffix: Annotated[Part | None, Field(description="What it ends with.", examples=["@example.com"])] = None
    contains: Annotated[Part | None, Field(description="What stands somewhere in it.", examples=["Mobile"])] = None
    regex: Annotated[RegexText | None, Field(
        description="A regular expression that takes the whole value, of letters, classes, groups, `|` and counts; "
                    "`(?i)` at its beginning ignores the case of letters. Back-references and looking around are "
                    "refused, so none is slow.", examples=["v[0-9]+"])] = None
    present: Annotated[Flag | None, Field(
        description="`true`: it is there, with any value; `false`: it is not.", examples=[True])] = None
    min: Annotated[Integer | None, Field(
        description="A whole number, in decimal digits, of at least so much.", examples=[10])] = None
    max: Annotated[Integer | None, Field(
        description="A whole number of at most so much.", examples=[99])] = None
    invert: Annotated[Flag, Field(
        description="Takes what the rest does not take, and also requests in which it is missing.")] = False

    @model_validator(mode="before")
    @classmethod
    def _accept_text(cls, value: Any) -> Any:
        if isinstance(value, str):
            return {"exact": value}
        if not isinstance(value, (dict, ValueMatch)):
            raise WrongValue(shown(value), "a value, or a mapping with one of exact, prefix, suffix, contains, regex, "
                                           "present, min and max")
        return value

    @model_serializer(mode="wrap")
    def _as_written(self, handler: SerializerFunctionWrapHandler) -> Any:
        return self.exact if self.is_exact else handler(self)

    @property
    def is_exact(self) -> bool:
        """It is no more than a text."""
        return self.exact is not None and not self.invert


KINDS = ("exact", "prefix", "suffix", "contains", "regex", "present")
