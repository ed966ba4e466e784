"""The JSON Schema of the configuration, for completion and checking in editors.

It says what the models say. A value may also be a `${NAME}`, so everything that is not free text
allows that too.
"""

from itertools import combinations
from typing import Any

from fastmesh.config.checks import TARGETS
from fastmesh.config.describe import default_of, places
from fastmesh.config.fields import Section
from fastmesh.config.load_balancer import ALGORITHMS
from fastmesh.config.match import PATHS
from fastmesh.config.model import Config

_REFERENCE = {"type": "string", "pattern": r"\$\{[A-Za-z_][A-Za-z0-9_]*(:-[^}]*)?\}",
              "description": "A value from the environment: ${NAME} or ${NAME:-default}."}
_REFERENCE_LINK = {"$ref": "#/$defs/Reference"}
_OUTER = ("description", "default", "examples")


def json_schema(version: str) -> dict[str, Any]:
    """A schema of draft 2020-12, that of a version of fastmesh."""
    schema = Config.model_json_schema()
    definitions = schema.pop("$defs")
    for place in places():
        _rework(schema if place.section is Config else definitions[place.section.__name__], place.section)
    # An endpoint is most often just its address.
    endpoint = definitions["Endpoint"]
    address = endpoint["properties"]["address"]
    definitions["Endpoint"] = {
        "description": endpoint["description"], "examples": address["examples"],
        "anyOf": [*address["anyOf"], {key: value for key, value in endpoint.items() if key != "description"}]}
    # In a list of filters a name may stand for one of the top level; there each has a name. A class's own settings may
    # have any name.
    use = definitions["FilterUse"]
    reference = {**use["properties"]["name"], "description": "A name of `filters`."}
    definitions["FilterUse"] = {
        "description": use["description"],
        "anyOf": [reference, {key: value for key, value in use.items() if key != "description"}]}
    schema["properties"]["filters"]["items"] = {
        "allOf": [{"$ref": "#/$defs/FilterUse"}, {"type": "object", "required": ["name"]}]}
    # A cluster's algorithm is most often named alone.
    policy = definitions["LoadBalancer"]
    definitions["LoadBalancer"] = {
        "description": policy["description"],
        "anyOf": [{"anyOf": [{**item, "enum": list(ALGORITHMS)} if "enum" in item else item
                             for item in policy["properties"]["pick_by"]["anyOf"]]},
                  {key: value for key, value in policy.items() if key != "description"}]}
    # Likewise of rate limits.
    limit = definitions["RateLimit"]
    definitions["RateLimit"] = {
        "description": limit["description"],
        "anyOf": [{**limit["properties"]["name"], "description": "A name of `rate_limits`."},
                  {key: value for key, value in limit.items() if key != "description"}]}
    schema["properties"]["rate_limits"]["items"] = {"allOf": [{"$ref": "#/$defs/RateLimit"}, {"type": "object"}]}
    # A value that a request must have is most often just a text.
    value = definitions["ValueMatch"]
    definitions["ValueMatch"] = {
        "description": value["description"],
        "anyOf": [{"type": ["string", "number", "boolean"]},
                  {key: item for key, item in value.items() if key != "description"}]}
    # What an endpoint of a subset must have, too.
    value = definitions["SubsetValue"]
    definitions["SubsetValue"] = {
        "description": value["description"],
        "anyOf": [{"type": ["string", "number"]},
                  {key: item for key, item in value.items() if key != "description"}]}
    for name in ("Match", "FilterMatch", "LimitMatch", "FaultMatch", "MirrorMatch"):
        definitions[name]["not"] = {"anyOf": [{"required": [one, other]} for one, other in combinations(PATHS, 2)]}
    definitions["Route"]["oneOf"] = [{"required": [target]} for target in TARGETS]
    definitions["Listener"] |= {
        "if": {"required": ["protocol"], "properties": {"protocol": {"const": "tcp"}}},
        "then": {"required": ["cluster"], "not": {"required": ["routes"]}},
        "else": {"not": {"required": ["cluster"]}}}
    definitions["Reference"] = _REFERENCE
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:fastmesh:configuration:{version}",
        "title": "fastmesh configuration",
        **{key: value for key, value in schema.items() if key != "title"},
        "$defs": dict(sorted(definitions.items())),
    }


def _rework(schema: dict[str, Any], section: type[Section]) -> None:
    """In place: one mapping of the configuration. Again for a section that is used twice: it changes nothing."""
    schema.pop("title", None)
    for key, info in section.model_fields.items():
        field = _with_reference(_without_null(schema["properties"][key]))
        field.pop("title", None)
        field.pop("default", None)
        if info.description:
            field["description"] = info.description     # pydantic leaves out one that the section has too
        default = default_of(info)
        if default is not None:
            field["default"] = default
        outer = {name: field.pop(name) for name in _OUTER if name in field}
        schema["properties"][key] = {**outer, **field}


def _without_null(field: dict[str, Any]) -> dict[str, Any]:
    """What may be left out is left out, not written as null."""
    options = field.get("anyOf", [])
    kept = [option for option in options if option != {"type": "null"}]
    if len(kept) == len(options):
        return field
    rest = {key: value for key, value in field.items() if key != "anyOf"}
    return {**kept[0], **rest} if len(kept) == 1 else {**rest, "anyOf": kept}


def _with_reference(field: dict[str, Any]) -> dict[str, Any]:
    """Lets `${NAME}` stand where not every text may."""
    outer = {key: value for key, value in field.items() if key in (*_OUTER, "title")}
    inner = {key: value for key, value in field.items() if key not in outer}
    kind = inner.get("type")
    if any(option.get("type") == "array" for option in inner.get("anyOf", ())):
        return field
    if kind == "array":
        return {**field, "items": _with_reference(inner["items"])}
    if kind == "object" or "$ref" in inner or _REFERENCE_LINK in inner.get("anyOf", ()):
        return field
    if kind is not None and "string" in kind and not {"pattern", "enum"} & set(inner):
        return field
    return {**outer, "anyOf": [*inner.get("anyOf", [inner]), _REFERENCE_LINK]}
